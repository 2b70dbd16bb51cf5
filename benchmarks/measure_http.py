"""Requests per second at 32 connections, of the gateway and of bare routes, in turns.

The machine's pace may change by half from one second to the next, so that a ratio is that of two
rounds which followed each other: of many such pairs, the one whose ratio is the median.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from benchmarks.bare import running_bare_app
from benchmarks.cpu import cpu_seconds
from benchmarks.jobs import ACCEPTED, OK, ReadModel
from benchmarks.load import Load, LoadResult, generate
from benchmarks.stack import KEYED_SUBMISSION, SUBMISSION, Stack
from benchmarks.wire import get

_PAIRS: Final = 11
_SECONDS: Final = 1.0
_SECONDS_UNDER_WORK: Final = 3.0
_WARM_UP: Final = 0.3
_JOBS_ASKED_FOR: Final = 200
_SERVER: Final = "server"


@dataclass(frozen=True, slots=True)
class Served:
    """How a server answered a load, and what each request cost its process, in milliseconds."""

    load: LoadResult
    cpu_per_request: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The same load on the gateway and on the bare route, one after the other."""

    gateway: Served
    bare: Served

    @property
    def ratio(self) -> float:
        """What the gateway answered of each request that the bare route answered."""
        return self.gateway.load.per_second / self.bare.load.per_second


@dataclass(frozen=True, slots=True)
class Beside:
    """The pair whose ratio is the median, and the ratios of all pairs, the least first."""

    median: Pair
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class HttpFigures:
    """GET with the stack idle, POST with the other services held still, POST with all at work."""

    get: Beside
    post: Beside
    post_with_key: Beside
    post_under_work: Served


async def measure_http(stack: Stack) -> HttpFigures:
    """Measure both routes; leaves behind a stack that still works on what was submitted."""
    connection = await asyncpg.connect(stack.database)
    try:
        job_ids = await ReadModel(connection).completed_ids(_JOBS_ASKED_FOR)
    finally:
        await connection.close()
    reads = _load(stack.gateway_port, [get(f"/report-jobs/{job_id}") for job_id in job_ids], OK)
    writes = _load(stack.gateway_port, [SUBMISSION], ACCEPTED)
    keyed_writes = _load(stack.gateway_port, [KEYED_SUBMISSION], ACCEPTED)
    gateway = stack.pids["gateway"]
    async with running_bare_app(stack.bare_port, stack.directory.log("bare")) as bare:
        peer = _Peer(stack.bare_port, bare)
        read = await _in_turns(reads, gateway, peer)
        under_work = await _serve(replace(writes, seconds=_SECONDS_UNDER_WORK), gateway)
        with stack.paused("report-worker", "status-projector", "notifier"):
            written = await _in_turns(writes, gateway, peer)
            keyed = await _in_turns(keyed_writes, gateway, peer)
    return HttpFigures(get=read, post=written, post_with_key=keyed, post_under_work=under_work)


def _load(port: int, requests: Sequence[bytes], expected_status: int) -> Load:
    return Load(
        port=port,
        requests=tuple(request.decode() for request in requests),
        expected_status=expected_status,
        seconds=_SECONDS,
        warm_up=_WARM_UP,
    )


@dataclass(frozen=True, slots=True)
class _Peer:
    port: int
    pid: int


async def _in_turns(load: Load, gateway_pid: int, peer: _Peer) -> Beside:
    """Measure the pairs, each in the other order than the one before, since the first may warm."""
    sides = [("gateway", load, gateway_pid), ("bare", replace(load, port=peer.port), peer.pid)]
    pairs = list[Pair]()
    for _ in range(_PAIRS):
        pairs.append(Pair(**{name: await _serve(side, pid) for name, side, pid in sides}))
        sides.reverse()
    pairs.sort(key=lambda pair: pair.ratio)
    return Beside(pairs[_PAIRS // 2], tuple(pair.ratio for pair in pairs))


async def _serve(load: Load, pid: int) -> Served:
    used = cpu_seconds({_SERVER: pid})[_SERVER]
    result = await generate(load)
    used = cpu_seconds({_SERVER: pid})[_SERVER] - used
    return Served(result, used * 1000 / result.requests)
