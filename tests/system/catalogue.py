"""The report types of the system tests: the shipped ones, and some that behave in special ways."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from local_stack.paths import CATALOGUE

SOURCE: Final = "orders"
AWAY: Final = "away"
"""A data source at an address where nobody listens."""

BROKEN_QUERY: Final = "BROKEN_QUERY"
SOURCE_AWAY: Final = "SOURCE_AWAY"
BRIEF_REPORT: Final = "BRIEF_REPORT"
GATED_REPORT: Final = "GATED_REPORT"
"""Fails for a passing reason while the gate in the data source is closed."""
SLOW_REPORT: Final = "SLOW_REPORT"
"""Runs until it is stopped."""
STEADY_REPORT: Final = "STEADY_REPORT"
"""Gives a hundred rows each time that a gate is opened, or has been."""
STEADY_GATES: Final = (100, 200)
"""The rows before which it waits, and the advisory locks of the data source that it waits for."""
KNOWN_TO_GATEWAY: Final = "KNOWN_TO_GATEWAY"
"""Only in the gateway's catalogue, as in the middle of a deployment."""


def _report_type(name: str, sql: str, source: str = SOURCE) -> dict[str, Any]:
    return {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "source": source,
        "sql": sql,
        "columns": [{"name": "number", "title": "Number", "type": "integer"}],
    }


_SPECIAL: Final = (
    _report_type(BROKEN_QUERY, "SELECT number FROM shop.table_that_is_not_there"),
    _report_type(SOURCE_AWAY, "SELECT 1 AS number", source=AWAY),
    # Long enough for a crash to meet it, short enough for hundreds of them.
    _report_type(
        BRIEF_REPORT, "SELECT number FROM generate_series(1, 3) AS number, pg_sleep(0.15)"
    ),
    _report_type(SLOW_REPORT, "SELECT 1 AS number FROM pg_sleep(600)"),
    _report_type(GATED_REPORT, "SELECT shop.pass_gate() AS number"),
    _report_type(
        STEADY_REPORT,
        "SELECT CASE WHEN number IN (100, 200)"
        " THEN pg_advisory_xact_lock_shared(number)::text ELSE '' END || repeat('x', 65536) AS text"
        " FROM generate_series(1, 300) AS number",
    )
    | {"columns": [{"name": "text", "title": "Text", "type": "text"}]},
)
GATE: Final = """
CREATE TABLE shop.gate (is_closed boolean NOT NULL);
INSERT INTO shop.gate VALUES (false);
CREATE FUNCTION shop.pass_gate() RETURNS int LANGUAGE plpgsql AS $body$
BEGIN
    IF EXISTS (SELECT FROM shop.gate WHERE is_closed) THEN
        RAISE EXCEPTION 'the gate is closed' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN 1;
END
$body$;
"""
CLOSE_GATE: Final = "UPDATE shop.gate SET is_closed = true"

_GATEWAY_ALONE: Final = (_report_type(KNOWN_TO_GATEWAY, "SELECT 1 AS number"),)


def write_catalogues(folder: Path, more: Collection[Mapping[str, Any]] = ()) -> Mapping[str, Path]:
    """Write the catalogue of each service that reads one; return the folders by service.

    Both know the types of `more`, as their files declare them.
    """
    known = (*_SPECIAL, *more)
    types = {"gateway": (*known, *_GATEWAY_ALONE), "report-worker": known}
    folders = {service: folder / f"catalogue-{service}" for service in types}
    for service, own_types in types.items():
        shutil.copytree(CATALOGUE, folders[service])
        for report_type in own_types:
            path = folders[service] / f"{report_type['name'].lower()}.yaml"
            path.write_text(yaml.safe_dump(dict(report_type), sort_keys=False))
    return folders


def request(report_type: str, **fields: Any) -> dict[str, Any]:
    """Return a valid request for a report type, as CSV unless `format` says otherwise."""
    return {
        "reportType": report_type,
        "dateRange": {"fromDate": "2024-03-01", "toDate": "2024-05-31"},
        "format": "CSV",
        **fields,
    }
