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
_QUEUE: Final = 50
_WAITING: Final = 1 + _QUEUE
"""In the statement that hangs, and behind it."""
_SECONDS: Final = 60.0
_HANGS: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1
"""


@pytest.fixture
async def patient(bench_with: OpenBench) -> AsyncIterator[Bench]:
    """A gateway that would wait for its database for longer than a test lasts."""
    async with bench_with(
        DATABASE_CONNECT_TIMEOUT="600", DATABASE_COMMAND_TIMEOUT="600", DATABASE_QUEUE=str(_QUEUE)
    ) as bench:
        yield bench


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("gateway.idempotency_keys", "%INSERT INTO idempotency_keys%"),
        ("read_model.jobs", "%WITH ORDINALITY%"),
    ],
)
async def test_what_a_hanging_database_cannot_take_is_refused_at_once_and_the_rest_is_answered(
    patient: Bench, table: str, statement: str
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

    async def hangs() -> bool:
        return bool(await watcher.fetchval(_HANGS, statement))

    async def are_refused() -> bool:
        return len(answers) >= _REQUESTS - _WAITING

    admin = await asyncpg.connect(patient.database.admin)
    watcher = await asyncpg.connect(patient.database.admin)
    try:
        async with asyncio.TaskGroup() as clients, admin.transaction():
            await admin.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            clients.create_task(ask(0))
            await poll_until(hangs, seconds=_SECONDS)
            for number in range(1, _REQUESTS):
                clients.create_task(ask(number))
            await poll_until(are_refused, seconds=_SECONDS)
            assert {answer.status_code for answer in answers} == {503}
            assert all("retry-after" in answer.headers for answer in answers)
            refused = len(answers)
    finally:
        await watcher.close()
        await admin.close()
    assert refused == _REQUESTS - _WAITING
    assert {answer.status_code for answer in answers[refused:]} <= {200, 202}
    assert len(answers) == _REQUESTS
