"""What a measurement asks of jobs as a whole: how many have ended, and which."""

import asyncio
import time
from typing import Final

import asyncpg

from benchmarks.errors import BenchmarkError
from benchmarks.load import Load, LoadResult, generate
from benchmarks.stack import SUBMISSION, Stack

ACCEPTED: Final = 202
OK: Final = 200

_POLL_SECONDS: Final = 0.02
_FASTEST_PER_SECOND: Final = 4_000
"""More jobs than can end: each look counts the whole table, so none is taken before its time."""
_COUNTS: Final = """
SELECT count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
       count(*) FILTER (WHERE status = 'FAILED') AS failed
FROM read_model.jobs
"""
_IDS: Final = "SELECT job_id FROM read_model.jobs WHERE status = 'COMPLETED' LIMIT $1"


async def submit(stack: Stack, count: int) -> LoadResult:
    """Submit no-op jobs as fast as the gateway takes them."""
    return await generate(
        Load(
            port=stack.gateway_port,
            requests=(SUBMISSION.decode(),),
            expected_status=ACCEPTED,
            count=count,
            seconds=120.0,
        )
    )


class ReadModel:
    """The projector's table, looked at from outside."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def completed(self) -> int:
        """Return how many jobs are COMPLETED.

        Raises:
            BenchmarkError: where one is FAILED.

        """
        row = await self._connection.fetchrow(_COUNTS)
        if row is None or row["failed"]:
            raise BenchmarkError("a no-op job failed; the report-worker's log says why")
        return int(row["completed"])

    async def wait_for_completed(self, count: int, *, seconds: float) -> None:
        """Return within 20 ms of `count` jobs being COMPLETED.

        Raises:
            BenchmarkError: where that takes longer than `seconds`.

        """
        deadline = time.perf_counter() + seconds
        while (completed := await self.completed()) < count:
            if time.perf_counter() > deadline:
                raise BenchmarkError(f"only {completed} of {count} jobs in {seconds:.0f} s")
            await asyncio.sleep(max(_POLL_SECONDS, (count - completed) / _FASTEST_PER_SECOND))

    async def completed_ids(self, count: int) -> list[str]:
        """Return the ids of up to `count` COMPLETED jobs."""
        return [row["job_id"] for row in await self._connection.fetch(_IDS, count)]
