"""The worker's schema is brought up to date under runs that are there, and workers that write."""

import asyncio
import shutil
from pathlib import Path

import asyncpg

from report_worker.app import MIGRATIONS, SCHEMA
from report_worker.domain import Cancellation
from shared.database.migrations import migrate
from tests.integration.report_worker.queue_bench import queue_bench
from tests.support.report_runs import NOON, REQUEST, job_id
from tests.support.servers import DatabaseUrls

FIRST_VERSION_S_INSERT = """
INSERT INTO report_worker.runs
    (job_id, run, tenant, created_at, report_type, format, request, state)
VALUES ($1, 1, 'acme', $2, 'EMPTY', 'CSV', $3, 'queued')
"""


async def test_runs_of_the_first_version_go_on(database: DatabaseUrls, tmp_path: Path) -> None:
    """Before the second version runs had no limit for their wait, and couldn't be cancelled."""
    (tmp_path / "versions").mkdir()
    shutil.copy(MIGRATIONS / "versions" / "0001_queue.py", tmp_path / "versions")
    url = database.report_worker
    await asyncio.to_thread(migrate, url, schema=SCHEMA, directory=tmp_path)
    connection = await asyncpg.connect(url)
    try:
        request = REQUEST.model_dump_json(by_alias=True)
        await connection.execute(FIRST_VERSION_S_INSERT, job_id(1), NOON, request)
        await asyncio.to_thread(migrate, url, schema=SCHEMA, directory=MIGRATIONS)
        # A worker of the first version may still be running.
        await connection.execute(FIRST_VERSION_S_INSERT, job_id(2), NOON, request)
    finally:
        await connection.close()
    async with queue_bench(database) as runs:
        await runs.queue().expire()
        await runs.take_in(Cancellation(job_id(1), 1))
        (attempt,) = await runs.queue().claim(free_slots=2)
        assert (attempt.job_id, attempt.request) == (job_id(2), REQUEST)
        assert [event.error_code for event in await runs.failures()] == ["CANCELLED"]
