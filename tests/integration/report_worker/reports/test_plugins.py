"""Reports that plugins make: from real sources, in every format, and stopped when asked to."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel, Field

from report_worker.plugins import PermanentError, Report, ReportPlugin, Row, TransientError
from report_worker.reports import ReportError
from report_worker.reports.plugins import running
from shared.catalogue import ReportType
from tests.integration.report_worker.reports.conftest import Make, files_in

Rows = Callable[[Report[Any]], AsyncGenerator[Sequence[Row], None]]
CURRENCY = {"type": "string", "enum": ["EUR", "USD"], "default": "EUR"}


class Parameters(BaseModel):
    currency: str = Field(pattern="^E")
    days: int = 7


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ReportType]:
    """Put a function in the place of an installed plugin; gives a report type that names it."""

    def plug(rows: Rows, *, statement_timeout: int = 60) -> ReportType:
        plugin = ReportPlugin(rows, columns=("day", "total"), parameters=Parameters)
        monkeypatch.setattr(running, "load_plugin", lambda _name: plugin)
        return ReportType.model_validate(
            {
                "name": "PLUGGED",
                "title": "Plugged",
                "plugin": "plugged",
                "sources": ["orders"],
                "parameters": {
                    "properties": {"currency": CURRENCY, "days": {"type": ["integer", "null"]}}
                },
                "columns": [
                    {"name": "day", "title": "Day", "type": "date"},
                    {"name": "total", "title": "Total", "type": "decimal", "scale": 2},
                ],
                "limits": {"statement_timeout": statement_timeout},
            }
        )

    return plug


Plugged = Callable[..., ReportType]


@pytest.fixture
async def amounts(admin: asyncpg.Connection) -> str:
    await admin.execute(
        "CREATE TABLE shop.amounts AS SELECT date '2024-01-01' + i % 31 AS day,"
        " i::numeric / 8 AS amount FROM generate_series(1, 5000) AS i;"
        "GRANT SELECT ON shop.amounts TO report_source"
    )
    return "shop.amounts"


async def sums(report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
    orders = report.source("orders")
    totals: dict[date, Decimal] = {}
    read = 0
    report.phase("query", until=80, rows_total=5000)
    async for batch in orders.batches(
        "SELECT day, amount FROM shop.amounts WHERE day BETWEEN :first AND :last + 0"
        " AND (:missing IS NULL OR amount = ANY (:wanted)) ORDER BY day, amount",
        first=report.from_date,
        last=report.to_date,
        missing=None,
        wanted=[Decimal("0.125")],
    ):
        read += len(batch)
        report.rows(read)
        for day, amount in batch:
            totals[day] = totals.get(day, Decimal(0)) + amount
    report.phase("aggregate")
    yield await report.in_thread(sorted, totals.items())


@pytest.mark.parametrize("file_format", ["CSV", "JSON", "NDJSON"])
async def test_rows_of_a_plugin_are_written_in_the_format_asked_for(
    make: Make, plugged: Plugged, amounts: str, file_format: str
) -> None:
    made = await make(plugged(sums), file_format)
    lines = made.content.decode().splitlines()
    assert made.report.rows == 31
    match file_format:
        case "CSV":
            assert lines[:2] == ["day,total", "2024-01-01,50533.88"]
        case "JSON":
            assert json.loads(made.content)[0] == {"day": "2024-01-01", "total": 50533.88}
        case _:
            assert json.loads(lines[0]) == {"day": "2024-01-01", "total": 50533.88}


async def test_all_queries_of_a_report_see_one_snapshot_and_none_can_write(
    make: Make, plugged: Plugged, amounts: str, admin: asyncpg.Connection
) -> None:
    seen: list[int] = []

    async def rows(report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
        orders = report.source("orders")
        for _ in range(2):
            ((count,),) = await orders.rows("SELECT count(*) FROM shop.amounts")
            seen.append(count)
            await admin.execute("INSERT INTO shop.amounts VALUES ('2024-01-01', 1)")
        await orders.rows("WITH made AS (DELETE FROM shop.amounts RETURNING 1) SELECT * FROM made")
        yield []

    with pytest.raises(ReportError) as failed:
        await make(plugged(rows))
    assert seen == [5000, 5000]
    assert not failed.value.transient
    assert await admin.fetchval("SELECT count(*) FROM shop.amounts") == 5002


async def test_parameters_come_as_the_plugins_type_and_with_defaults(
    make: Make, plugged: Plugged
) -> None:
    given: list[Parameters] = []

    async def rows(report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
        given.append(report.parameters)
        yield [(report.from_date, 1), (report.to_date, None)]

    kind = plugged(rows)
    made = await make(kind, days=3)
    assert given == [Parameters(currency="EUR", days=3)]
    assert made.content.decode().splitlines()[1:] == ["2024-01-01,1.00", "2024-01-31,"]
    with pytest.raises(ReportError) as rejected:
        await make(kind, currency="USD")
    assert (rejected.value.code, rejected.value.transient) == ("REQUEST_REJECTED", False)
    assert "parameters.currency" in rejected.value.message


@pytest.mark.parametrize(
    ("error", "code", "transient"),
    [
        (TransientError("The rates are away.", code="RATES_AWAY"), "RATES_AWAY", True),
        (PermanentError("There is no such shop."), "REPORT_GENERATION_FAILED", False),
        (
            ExceptionGroup("tasks", [ValueError(), TransientError("The rates are away.")]),
            "REPORT_GENERATION_FAILED",
            True,
        ),
    ],
)
async def test_what_a_plugin_raises_is_what_the_client_is_told(
    make: Make, plugged: Plugged, artifacts: Path, error: Exception, code: str, transient: bool
) -> None:
    async def rows(report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
        yield [(report.from_date, 1)]
        raise error

    with pytest.raises(ReportError) as failed:
        await make(plugged(rows))
    assert (failed.value.code, failed.value.transient) == (code, transient)
    assert failed.value.message in {str(error), "The rates are away."}
    assert files_in(artifacts) == []


@pytest.mark.parametrize("row", [(date(2024, 1, 1), 0.1), (date(2024, 1, 1),), ("2024", 1)])
async def test_rows_that_are_not_as_declared_are_refused(
    make: Make, plugged: Plugged, row: Any
) -> None:
    async def rows(_report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
        yield [row]

    with pytest.raises(ReportError) as failed:
        await make(plugged(rows))
    assert "PLUGGED is declared wrongly" in failed.value.message
    assert not failed.value.transient


async def test_a_query_past_its_time_limit_ends_the_report(make: Make, plugged: Plugged) -> None:
    async def rows(report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
        await report.source("orders").rows("SELECT pg_sleep(60)")
        yield []

    with pytest.raises(ReportError) as failed:
        await make(plugged(rows, statement_timeout=1))
    assert failed.value.code == "TIMED_OUT"


async def test_a_cancellation_reaches_query_thread_and_file(
    make: Make, plugged: Plugged, artifacts: Path, admin: asyncpg.Connection
) -> None:
    started, stopped = threading.Event(), threading.Event()

    def compute(report: Report[Parameters]) -> None:
        started.set()
        try:
            while True:
                report.check_cancelled()
        finally:
            stopped.set()

    async def rows(report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
        await report.source("orders").rows("SELECT 1")
        yield [(report.from_date, 1)]
        await report.in_thread(compute, report)

    making = asyncio.ensure_future(make(plugged(rows)))
    await asyncio.to_thread(started.wait, 20)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert stopped.is_set()
    assert files_in(artifacts) == []
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'report-worker'"
    async with asyncio.timeout(20):
        while await admin.fetchval(  # noqa: ASYNC110 - another process has to get there
            f"{sessions} AND datname = current_database()"
        ):
            await asyncio.sleep(0.02)
