"""Reports made from a database of the test's own, into a folder of the test's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from report_worker.reports import (
    GeneratedReport,
    ProgressReporter,
    ReportSpec,
    SourceSessions,
    generate,
    open_store,
)
from shared.catalogue import ReportType
from shared.report_request import ReportRequest
from tests.support.servers import DatabaseUrls

PATH = "job_1/1/1-token/report"


@dataclass(frozen=True, slots=True)
class Made:
    """A report and its bytes."""

    report: GeneratedReport
    content: bytes


Make = Callable[..., Awaitable[Made]]


def report_type(sql: str, columns: dict[str, str | dict[str, Any]], **changes: Any) -> ReportType:
    """Declare a type by its SQL and the type of each column."""
    declared = [
        {"name": name, "title": name.title()} | (kind if isinstance(kind, dict) else {"type": kind})
        for name, kind in columns.items()
    ]
    base = {"name": "TESTED", "title": "Tested", "source": "orders", "sql": sql}
    return ReportType.model_validate({**base, "columns": declared, **changes})


def report_spec(kind: ReportType, file_format: str = "CSV", **parameters: Any) -> ReportSpec:
    """Ask for January 2024."""
    request = ReportRequest.model_validate(
        {
            "reportType": kind.name,
            "dateRange": {"fromDate": "2024-01-01", "toDate": "2024-01-31"},
            "format": file_format,
            "parameters": parameters,
        }
    )
    assert kind.violations(request) == []
    return ReportSpec(kind, request, datetime(2024, 2, 1, 9, 30, tzinfo=UTC))


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """The artifact store's folder."""
    return tmp_path / "artifacts"


@pytest.fixture
def blocked_artifacts(artifacts: Path) -> Path:
    """The same folder, with a file where the job's folder has to be."""
    artifacts.mkdir()
    (artifacts / "job_1").touch()
    return artifacts


@pytest.fixture
async def sources(database: DatabaseUrls) -> AsyncIterator[SourceSessions]:
    """Sessions with the test's database."""
    sessions = SourceSessions({"orders": database.report_source})
    yield sessions
    await sessions.close()


@pytest.fixture
def make(sources: SourceSessions, artifacts: Path) -> Make:
    """Make one report and read it back."""

    async def make_report(kind: ReportType, file_format: str = "CSV", /, **parameters: Any) -> Made:
        report = await generate(
            report_spec(kind, file_format, **parameters),
            sources=sources,
            store=open_store(artifacts.as_uri()),
            path=PATH,
            progress=ProgressReporter(),
        )
        return Made(report, (artifacts / PATH).read_bytes())

    return make_report


@pytest.fixture
async def admin(database: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    """An administrator's connection."""
    connection = await asyncpg.connect(database.admin)
    yield connection
    await connection.close()


def files_in(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]
