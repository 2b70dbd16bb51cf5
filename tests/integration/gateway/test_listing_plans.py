"""A page of a listing costs the same wherever it lies among a million jobs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import pytest

from benchmarks.many_jobs import MANY, fill
from gateway.domain import JobFilter, JobStatus
from gateway.settings import Settings
from gateway.store import ReadModel
from gateway.store.listing import page_statement
from shared.database.migrations import migrate
from shared.database.pool import open_database
from shared.job_id import JobId
from status_projector.app import MIGRATIONS
from tests.support.servers import DatabaseUrls, Postgres

JOBS: Final = MANY
TENANT: Final = "large"
PAGE: Final = 20
LARGEST: Final = 100

# One in a hundred jobs is another tenant's. Of the others one in a thousand has FAILED, one in
# five thousand is of the rare type; both together are rarer still, and nothing of it RUNS. The
# oldest two hundred are of a type of their own.
FILL: Final = """
INSERT INTO read_model.jobs (
    job_id, tenant, report_type, format, created_at, updated_at, status,
    description_version, description_digest, execution_version, execution_digest, history
)
SELECT 'job_' || lpad(n::text, 40, '0'),
       CASE WHEN n % 100 = 0 THEN 'small' ELSE 'large' END,
       CASE WHEN n <= 200 THEN 'OLD' WHEN n % 5000 = 1 THEN 'RARE' ELSE 'COMMON' END,
       'CSV', now(), now(),
       CASE WHEN n % 1000 = 1 THEN 'FAILED' WHEN n % 1000 = 2 THEN 'PENDING' ELSE 'COMPLETED' END,
       '{1}', 0, '{1,1,1,4,0}', 0, '{"a": {"event": "ReportRequested", "run": 1}}'
FROM generate_series(1, $1::int) AS n
"""
LISTINGS: Final = {
    "all": (JobFilter(), "jobs_of_tenant"),
    "by status": (JobFilter(status=JobStatus.COMPLETED), "jobs_of_status"),
    "by rare status": (JobFilter(status=JobStatus.FAILED), "jobs_of_status"),
    "by absent status": (JobFilter(status=JobStatus.RUNNING), "jobs_of_status"),
    "by type": (JobFilter(report_type="COMMON"), "jobs_of_type"),
    "by rare type": (JobFilter(report_type="RARE"), "jobs_of_type"),
    "by old type": (JobFilter(report_type="OLD"), "jobs_of_type"),
    "by absent type": (JobFilter(report_type="ABSENT"), "jobs_of_type"),
    "by type and status": (JobFilter(JobStatus.COMPLETED, "COMMON"), "jobs_of_type"),
    "by rare type and status": (JobFilter(JobStatus.FAILED, "RARE"), "jobs_of_type"),
    "by old type and status": (JobFilter(JobStatus.COMPLETED, "OLD"), "jobs_of_type"),
    "by absent type and status": (JobFilter(JobStatus.RUNNING, "RARE"), "jobs_of_type"),
}
KNOWN: Final = {
    "everything": "SELECT",
    "no settled rows": (
        "UPDATE pg_class SET relallvisible = 0 WHERE oid = 'read_model.jobs'::regclass"
    ),
    "nothing": "DELETE FROM pg_statistic WHERE starelid = 'read_model.jobs'::regclass",
    "that it was empty once": (
        "UPDATE pg_class SET relpages = 0, reltuples = 0, relallvisible = 0 "
        "WHERE oid = 'read_model.jobs'::regclass"
    ),
}
"""What PostgreSQL plans by, as left by VACUUM and ANALYZE, or by neither for long."""


def job(number: int) -> JobId:
    return JobId(f"job_{number:040}")


@pytest.fixture(scope="module")
async def million(postgres: Postgres) -> AsyncIterator[DatabaseUrls]:
    """A read model of a million jobs."""
    async with postgres.create_database() as urls:
        await asyncio.to_thread(
            migrate, urls.status_projector, schema="read_model", directory=MIGRATIONS
        )
        connection = await asyncpg.connect(urls.admin)
        try:
            await fill(connection, FILL, JOBS)
        finally:
            await connection.close()
        yield urls


async def explain(
    connection: "asyncpg.Connection[asyncpg.Record]", statement: str, arguments: list[str]
) -> dict[str, Any]:
    """Run the statement as a prepared one and return its plan."""
    values = ", ".join(f"'{argument}'" for argument in arguments)
    types = ", ".join("text" for _ in arguments)
    await connection.execute(f"PREPARE page ({types}) AS {statement}")
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE page ({values})"
    )
    await connection.execute("DEALLOCATE page")
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def assert_is_bounded(plan: dict[str, Any], index: str, rows: int) -> None:
    """The ids come from the index alone, in its order, and no row is read but the page's."""
    scans = [node for node in nodes(plan) if "Relation Name" in node]
    finding = [node for node in scans if node["Node Type"] == "Index Only Scan"]
    reading = [node for node in scans if node["Node Type"] == "Index Scan"]
    assert len(scans) == len(finding) + len(reading)
    assert {node["Index Name"] for node in finding} == {index}
    assert {node["Index Name"] for node in reading} == {"jobs_pkey"}
    assert not any(node.get("Rows Removed by Filter") for node in scans)
    assert sum(node["Heap Fetches"] for node in finding) == 0
    # Nothing is put in order but what was found: a page, or one of each stream.
    sorting = [node for node in nodes(plan) if "Sort" in node["Node Type"]]
    assert all(node["Plans"][0]["Actual Rows"] <= rows * len(finding) for node in sorting)
    # A row takes a descent of the primary key and its page; finding takes one descent per stream.
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= 6 * rows + 40


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("size", [PAGE, LARGEST])
@pytest.mark.parametrize("listing", LISTINGS)
async def test_every_page_is_found_in_one_index_whatever_postgres_knows_of_the_table(
    million: DatabaseUrls, listing: str, size: int, known: str, mode: str
) -> None:
    chosen, index = LISTINGS[listing]
    connection = await asyncpg.connect(
        million.admin, server_settings={"plan_cache_mode": mode, "jit": "off"}
    )
    try:
        async with rolled_back(connection):
            await connection.execute("SET LOCAL allow_system_table_mods = on")
            await connection.execute(KNOWN[known])
            # From the newest on, from the middle on, from near the oldest on, in a narrow window.
            for first, before in (
                (1, JOBS + 1), (1, JOBS // 2), (1, 5_002), (JOBS // 2, JOBS // 2 + 10_000),
            ):  # fmt: skip
                statement, arguments = page_statement(
                    TENANT, chosen, first=job(first), before=job(before), limit=size + 1
                )
                plan = await explain(connection, statement, arguments)
                assert_is_bounded(plan, index, size + 1)
    finally:
        await connection.close()


@asynccontextmanager
async def rolled_back(connection: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


@pytest.fixture
async def read_model(
    million: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ReadModel]:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", million.gateway)
    monkeypatch.setenv("GATEWAY_DATABASE_CONNECT_TIMEOUT", "60")
    monkeypatch.setenv("GATEWAY_DATABASE_COMMAND_TIMEOUT", "60")
    async with open_database(Settings(), schema="gateway", service="gateway") as database:
        yield ReadModel(database, timeout=120)


@pytest.mark.parametrize("listing", ["all", "by status", "by type", "by type and status"])
async def test_a_hundred_pages_show_every_job_once_and_in_order(
    read_model: ReadModel, listing: str
) -> None:
    chosen, _ = LISTINGS[listing]
    seen: list[JobId] = []
    before = job(JOBS + 1)
    for _ in range(100):
        page = await read_model.newest(TENANT, chosen, first=job(1), before=before, limit=PAGE)
        seen += [found.job_id for found in page]
        before = seen[-1]
    assert seen == [job(number) for number in expected(chosen, len(seen))]


def expected(chosen: JobFilter, count: int) -> list[int]:
    def belongs(number: int) -> bool:
        is_completed = number % 1000 not in {1, 2}
        is_common = number % 5000 != 1
        return (
            number % 100 != 0
            and (chosen.status is None or is_completed)
            and (chosen.report_type is None or is_common)
        )

    numbers = (number for number in range(JOBS, 0, -1) if belongs(number))
    return [number for number, _ in zip(numbers, range(count), strict=False)]


async def test_rare_jobs_are_all_found(read_model: ReadModel) -> None:
    chosen = JobFilter(status=JobStatus.FAILED, report_type="RARE")
    found = await read_model.newest(
        TENANT, chosen, first=job(1), before=job(JOBS + 1), limit=LARGEST
    )
    assert [one.job_id for one in found] == [job(JOBS - 5000 * n + 1) for n in range(1, 101)]
