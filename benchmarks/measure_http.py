"""Requests per second at 32 connections, of the gateway and of bare routes, in turns."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from benchmarks.bare import running_bare_app
from benchmarks.jobs import ACCEPTED, OK, ReadModel
from benchmarks.load import Load, LoadResult, generate
from benchmarks.stack import SUBMISSION, Stack
from benchmarks.wire import get

_ROUNDS: Final = 3
_SECONDS: Final = 2.0
_WARM_UP: Final = 0.5
_JOBS_ASKED_FOR: Final = 200


@dataclass(frozen=True, slots=True)
class Beside:
    """The same load on the gateway and on the bare route, each the median of its rounds."""

    gateway: LoadResult
    bare: LoadResult

    @property
    def ratio(self) -> float:
        """The gateway's requests per second over the bare route's."""
        return self.gateway.per_second / self.bare.per_second


@dataclass(frozen=True, slots=True)
class HttpFigures:
    """GET with the stack idle, POST with the other services held still, POST with all at work."""

    get: Beside
    post: Beside
    post_under_work: LoadResult


async def measure_http(stack: Stack) -> HttpFigures:
    """Measure both routes; leaves behind a stack that still works on what was submitted."""
    connection = await asyncpg.connect(stack.database)
    try:
        job_ids = await ReadModel(connection).completed_ids(_JOBS_ASKED_FOR)
    finally:
        await connection.close()
    reads = _load(stack.gateway_port, [get(f"/report-jobs/{job_id}") for job_id in job_ids], OK)
    writes = _load(stack.gateway_port, [SUBMISSION], ACCEPTED)
    async with running_bare_app(stack.bare_port, stack.directory.log("bare")):
        read = await _in_turns(reads, stack.bare_port)
        under_work = await generate(writes)
        with stack.paused("report-worker", "status-projector", "notifier"):
            written = await _in_turns(writes, stack.bare_port)
    return HttpFigures(get=read, post=written, post_under_work=under_work)


def _load(port: int, requests: Sequence[bytes], expected_status: int) -> Load:
    return Load(
        port=port,
        requests=tuple(request.decode() for request in requests),
        expected_status=expected_status,
        seconds=_SECONDS,
        warm_up=_WARM_UP,
    )


async def _in_turns(load: Load, bare_port: int) -> Beside:
    gateway, bare = [], []
    for _ in range(_ROUNDS):
        gateway.append(await generate(load))
        bare.append(await generate(replace(load, port=bare_port)))
    return Beside(_median(gateway), _median(bare))


def _median(results: Sequence[LoadResult]) -> LoadResult:
    middle = statistics.median_low([result.per_second for result in results])
    return next(result for result in results if result.per_second == middle)
