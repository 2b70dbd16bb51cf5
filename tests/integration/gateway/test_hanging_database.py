"""A database that hangs under load: some requests wait for it, the others are refused at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import httpx
import pytest

from local_stack.polling import poll_until
from tests.integration.gateway.bench import Bench, OpenBench
from tests.support.gateway import REQUEST

_REQUESTS: Final = 400
_MOST_THAT_WAIT: Final = 200 + 50
"""In a statement of the largest size, and behind it."""
_SECONDS: Final = 60.0


@pytest.fixture
async def patient(bench_with: OpenBench) -> AsyncIterator[Bench]:
    """A gateway that would wait for its database for longer than a test lasts."""
    async with bench_with(
        DATABASE_CONNECT_TIMEOUT="60", DATABASE_COMMAND_TIMEOUT="60", DATABASE_QUEUE="50"
    ) as bench:
        yield bench


@pytest.mark.parametrize("table", ["gateway.idempotency_keys", "read_model.jobs"])
async def test_what_a_hanging_database_cannot_take_is_refused_at_once_and_the_rest_is_answered(
    patient: Bench, table: str
) -> None:
    client = patient.client
    path = f"/report-jobs/{patient.job_ids.new('default')}"
    answers: list[httpx.Response] = []

    async def ask(number: int) -> None:
        if table.startswith("gateway"):
            key = {"idempotency-key": f"key-{number}"}
            answers.append(await client.post("/generate-report", json=REQUEST, headers=key))
        else:
            answers.append(await client.get(path))

    async def are_refused() -> bool:
        return len(answers) >= _REQUESTS - _MOST_THAT_WAIT

    admin = await asyncpg.connect(patient.database.admin)
    try:
        async with asyncio.TaskGroup() as clients, admin.transaction():
            await admin.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            for number in range(_REQUESTS):
                clients.create_task(ask(number))
            await poll_until(are_refused, seconds=_SECONDS)
            assert {answer.status_code for answer in answers} == {503}
            assert all("retry-after" in answer.headers for answer in answers)
            refused = len(answers)
    finally:
        await admin.close()
    assert {answer.status_code for answer in answers[refused:]} <= {200, 202}
    assert len(answers) == _REQUESTS
