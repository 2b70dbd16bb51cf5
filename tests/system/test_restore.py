"""PostgreSQL is put back to a copy from some seconds ago while Kafka went on, and all heals."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import httpx
import pytest

from local_stack.paths import StackDirectory
from local_stack.polling import poll_until
from tests.support.client import Job
from tests.support.receiver import Endpoint
from tests.support.servers import run_postgres
from tests.support.stack import SystemStack
from tests.system.catalogue import CLOSE_GATE, GATE, GATED_REPORT, request
from tests.system.installation import Installation, Servers, run_installation
from tests.system.load import (
    SECONDS,
    Accepted,
    assert_one_end_per_run,
    assert_told_of_each,
    submit_many,
    wait_until_all_completed,
)
from tests.system.queue import wait_until_worker_is_done
from tests.system.read_model import wait_until_verified
from tests.system.steps import attempts_of

JOBS = 30
WORKER = {
    "REPORT_WORKER_LEASE": "3",
    "REPORT_WORKER_MAX_FAILURES": "100000",
    "REPORT_WORKER_MAX_LOSSES": "12",
}
NOTIFIER = {"NOTIFIER_LEASE": "10", "NOTIFIER_POLL": "1"}


async def lose_the_last_seconds(
    installation: Installation, endpoint: Endpoint, accepted: Accepted
) -> None:
    """Copy the database while jobs run, let more of them end, and put the copy back.

    At the copy there are jobs that have ended, that run, and that wait; the copy knows nothing of
    those that come after it, some of which have ended when it is put back, and some run.
    """
    postgres = installation.servers.postgres
    await submit_many(installation, JOBS, endpoint, accepted)
    await endpoint.wait_for_count(JOBS // 3, seconds=SECONDS)
    copy = await postgres.save_copy()
    await submit_many(installation, JOBS, endpoint, accepted)
    await wait_until_all_completed(installation, accepted.job_ids)
    await submit_many(installation, JOBS, endpoint, accepted)
    await endpoint.wait_for_count(2 * JOBS + JOBS // 3, seconds=SECONDS)
    await postgres.put_back(copy)


async def execute(stack: SystemStack, statements: str) -> None:
    """Change the database as its administrator."""
    connection = await asyncpg.connect(stack.database.admin)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def assert_report_is_there(installation: Installation, url: str | None) -> None:
    response = await installation.client.download(url)
    assert response.status_code == httpx.codes.OK, response.text
    assert response.headers["etag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'


@pytest.fixture(scope="module")
async def installation(servers: Servers) -> AsyncIterator[Installation]:
    directory = StackDirectory(servers.directory.root / "restored")
    async with (
        run_postgres(directory) as postgres,
        run_installation(
            replace(servers, postgres=postgres), worker=WORKER, notifier=NOTIFIER
        ) as running,
    ):
        yield running


async def test_database_that_lost_its_last_seconds_heals_itself(
    installation: Installation,
) -> None:
    endpoint, accepted = installation.receiver.endpoint(), Accepted()
    await lose_the_last_seconds(installation, endpoint, accepted)

    # Nothing new comes in: what is missing is noticed and read again all the same.
    await wait_until_worker_is_done(
        installation.stack, {(job_id, 1) for job_id in accepted.job_ids}
    )
    jobs = await wait_until_all_completed(installation, accepted.job_ids)
    await wait_until_verified(installation.stack)
    await assert_told_of_each(endpoint, jobs)
    # A run whose end was forgotten was executed again, and ended with the same event.
    assert await assert_one_end_per_run(installation.stack, jobs) > len(jobs)
    async with asyncio.TaskGroup() as tasks:
        for job in jobs.values():
            tasks.create_task(assert_report_is_there(installation, job.download_url))


async def test_run_ends_although_its_later_attempts_were_forgotten(
    installation: Installation,
) -> None:
    stack, postgres = installation.stack, installation.servers.postgres
    await execute(stack, GATE)
    copy = await postgres.save_copy()
    await execute(stack, CLOSE_GATE)

    async def is_accepted() -> bool:
        job = await installation.client.try_to_submit(request(GATED_REPORT))
        accepted.extend([job] if job else [])
        return job is not None

    async def has_been_tried_often() -> bool:
        return await attempts_of(installation, accepted[0]) > 3

    accepted: list[Job] = []
    await poll_until(is_accepted, seconds=SECONDS)
    await poll_until(has_been_tried_often, seconds=SECONDS)
    await postgres.put_back(copy)

    # The worker counts attempts from the beginning again, and now the first one succeeds.
    await wait_until_worker_is_done(installation.stack, {(accepted[0].job_id, 1)})
    await wait_until_verified(stack)
    assert (await installation.client.get(accepted[0].job_id)).status == "COMPLETED"
