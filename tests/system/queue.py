"""Waiting for the services to come to rest, by what their own tables say."""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

import asyncpg

from local_stack.polling import poll_until
from tests.support.log_audit import RunKey
from tests.support.stack import SystemStack

_SECONDS: Final = 600.0
_ENDED: Final = "SELECT job_id, run FROM report_worker.runs WHERE state = 'ended'"
_GOING_ON: Final = """
SELECT (SELECT count(*) FROM report_worker.runs WHERE state <> 'ended')
     + (SELECT count(*) FROM report_worker.outbox)
"""
_UNDELIVERED: Final = """
SELECT (SELECT count(*) FROM notifier.deliveries WHERE state IN ('pending', 'in_flight'))
     + (SELECT count(*) FROM notifier.outbox)
"""


async def wait_until_worker_is_done(stack: SystemStack, runs: Collection[RunKey]) -> None:
    """Return once the worker knows all these runs, all that it knows have ended, and all is
    published.
    """

    async def is_done(connection: asyncpg.Connection) -> bool:
        ended = {(row["job_id"], row["run"]) for row in await connection.fetch(_ENDED)}
        return ended >= set(runs) and await connection.fetchval(_GOING_ON) == 0

    await _until(stack, is_done)


async def wait_until_notifier_is_done(stack: SystemStack) -> None:
    """Return once no webhook is on its way, and all that is to be told of them is published."""

    async def is_done(connection: asyncpg.Connection) -> bool:
        return bool(await connection.fetchval(_UNDELIVERED) == 0)

    await _until(stack, is_done)


async def _until(
    stack: SystemStack, is_done: Callable[[asyncpg.Connection], Awaitable[bool]]
) -> None:
    connection = await asyncpg.connect(stack.database.admin)
    try:
        await poll_until(lambda: is_done(connection), seconds=_SECONDS, interval=0.25)
    finally:
        await connection.close()
