"""A tenant's jobs under way, counted in the real read model."""

from collections.abc import AsyncIterator
from typing import Final

import httpx
import pytest

from gateway.settings import Settings
from gateway.store import ReadModel
from local_stack.polling import poll_until
from shared.database.pool import open_database
from tests.integration.gateway.bench import Bench, OpenBench
from tests.support.gateway import REQUEST

_LIMIT: Final = 40
_ELSEWHERE: Final = 38
_POLL_SECONDS: Final = 2.0
_SECONDS: Final = 60.0
"""So short that this gateway's own jobs alone, one for each poll, don't come to the limit."""


@pytest.fixture
async def narrow(bench_with: OpenBench) -> AsyncIterator[Bench]:
    """A gateway that lets a tenant have some jobs under way."""
    async with bench_with(MAX_ACTIVE_JOBS=str(_LIMIT)) as bench:
        yield bench


async def test_jobs_of_every_gateway_count_until_they_end(narrow: Bench) -> None:
    accepted: list[str] = []

    async def submit() -> httpx.Response:
        response = await narrow.client.post("/generate-report", json=REQUEST)
        if response.status_code == 202:
            accepted.append(response.json()["jobId"])
        return response

    assert (await submit()).status_code == 202
    for number in range(_ELSEWHERE):
        status = "RUNNING" if number % 2 else "PENDING"
        await narrow.add_job(narrow.job_ids.new("default"), status=status)
    await narrow.add_job(narrow.job_ids.new("default"), status="FAILED")
    await narrow.add_job(narrow.job_ids.new("rival"), tenant="rival")

    async def is_full() -> bool:
        response = await submit()
        if response.status_code == 429:
            assert response.json()["type"] == "urn:report-jobs:problem:too-many-active-jobs"
        return response.status_code == 429

    await poll_until(is_full, seconds=_SECONDS, interval=_POLL_SECONDS)
    assert _LIMIT - _ELSEWHERE <= len(accepted) < _LIMIT
    await narrow.execute("UPDATE read_model.jobs SET status = 'COMPLETED'")
    for job_id in accepted:
        await narrow.add_job(job_id, status="COMPLETED")

    async def has_room() -> bool:
        return (await submit()).status_code == 202

    await poll_until(has_room, seconds=_SECONDS)


async def test_a_job_is_shown_in_the_runs_that_it_has_come_to(narrow: Bench) -> None:
    first, second, deleted, missing = (narrow.job_ids.new("default") for _ in range(4))
    await narrow.add_job(first, status="FAILED")
    await narrow.add_job(second, execution_version=[2, 0, 0, 0, 0])
    await narrow.add_tombstone(deleted)
    async with open_database(Settings(), schema="gateway", service="gateway") as database:
        read_model = ReadModel(database, timeout=60)
        asked = {first: 1, second: 1, deleted: 7, missing: 1}
        assert await read_model.known(asked) == {first, second, deleted}
        assert await read_model.known({first: 2, second: 2}) == {second}
