"""What a report tells while it is made."""

import asyncio
from pathlib import Path

import pytest

from local_stack.polling import poll_until
from report_worker.reports import ProgressReporter, SourceSessions, generate, open_store
from tests.integration.report_worker.reports.conftest import PATH, report_spec, report_type
from tests.support.report_worker import GATE, Gate

GATED = report_type(
    "SELECT i AS n FROM generate_series(1, 700) AS i, LATERAL"  # noqa: S608 - ours
    f" (SELECT pg_advisory_xact_lock_shared({GATE} + 0 * i))",
    {"n": "integer"},
)
"""Waits for the test's `Gate`."""
QUICK = report_type("SELECT i AS n FROM generate_series(1, 5000) AS i", {"n": "integer"})
FORMATS = ["CSV", "JSON", "NDJSON", "XLSX", "PDF"]


@pytest.mark.parametrize("file_format", ["CSV", "XLSX"])
async def test_a_long_report_tells_the_estimate_of_its_rows(
    sources: SourceSessions, artifacts: Path, gate: Gate, file_format: str
) -> None:
    progress = ProgressReporter()
    making = asyncio.ensure_future(
        generate(
            report_spec(GATED, file_format),
            sources=sources,
            store=open_store(artifacts.as_uri()),
            path=PATH,
            progress=progress,
        )
    )

    async def is_estimated() -> bool:
        return progress.newest is not None and progress.newest.rows_total == 700

    await poll_until(is_estimated, seconds=20)
    await gate.open()
    assert (await making).rows == 700


@pytest.mark.parametrize("file_format", FORMATS)
async def test_a_finished_report_has_counted_its_rows(
    sources: SourceSessions, artifacts: Path, file_format: str
) -> None:
    progress = ProgressReporter()
    await generate(
        report_spec(QUICK, file_format),
        sources=sources,
        store=open_store(artifacts.as_uri()),
        path=PATH,
        progress=progress,
    )
    assert progress.newest is not None
    assert progress.newest.rows_processed == 5000
    assert progress.newest.phase == ("typeset" if file_format == "PDF" else "query")
