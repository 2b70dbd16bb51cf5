"""No-op jobs per second, from the first POST to the last COMPLETED in the read model."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import asyncpg

from benchmarks.cpu import cpu_seconds
from benchmarks.jobs import ReadModel, submit
from benchmarks.stack import Stack

JOBS: Final = 2_000
_SECONDS: Final = 90.0
_FLUSHES: Final = "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
_STATISTICS_SECONDS: Final = 1.5
"""After which PostgreSQL's processes have told of what they did."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """How a burst of no-op jobs went through; CPU in milliseconds per job, by process."""

    jobs: int
    seconds: float
    submitting_seconds: float
    cpu_per_job: dict[str, float]
    flushes_per_job: float
    """How often PostgreSQL made its log durable, for all that the job needed; shared flushes of
    several jobs make it small."""

    @property
    def per_second(self) -> float:
        """Jobs per second."""
        return self.jobs / self.seconds


async def measure_throughput(stack: Stack) -> Throughput:
    """Submit all jobs at once, and wait for the last."""
    connection = await asyncpg.connect(stack.database)
    try:
        read_model = ReadModel(connection)
        before, flushes = await read_model.completed(), await _flushes(connection)
        used = cpu_seconds(stack.pids)
        began = time.perf_counter()
        submitted = await submit(stack, JOBS)
        await read_model.wait_for_completed(before + JOBS, seconds=_SECONDS)
        seconds = time.perf_counter() - began
        after = cpu_seconds(stack.pids)
        await asyncio.sleep(_STATISTICS_SECONDS)
        flushes = await _flushes(connection) - flushes
    finally:
        await connection.close()
    return Throughput(
        jobs=JOBS,
        seconds=seconds,
        submitting_seconds=JOBS / submitted.per_second,
        cpu_per_job={name: (after[name] - used[name]) * 1000 / JOBS for name in after},
        flushes_per_job=flushes / JOBS,
    )


async def _flushes(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    return int(await connection.fetchval(_FLUSHES) or 0)
