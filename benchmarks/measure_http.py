"""Requests per second at 32 connections, of the gateway and of bare routes, in turns."""

import statistics
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

_ROUNDS: Final = 3
_SECONDS: Final = 2.0
_WARM_UP: Final = 0.5
_JOBS_ASKED_FOR: Final = 200
_SERVER: Final = "server"


@dataclass(frozen=True, slots=True)
class Served:
    """How a server answered a load, and what each request cost its process, in milliseconds."""

    load: LoadResult
    cpu_per_request: float


@dataclass(frozen=True, slots=True)
class Beside:
    """The same load on the gateway and on the bare route, each the median of its rounds."""

    gateway: Served
    bare: Served


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
        under_work = await _serve(writes, gateway)
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
    gateway, bare = [], []
    for _ in range(_ROUNDS):
        gateway.append(await _serve(load, gateway_pid))
        bare.append(await _serve(replace(load, port=peer.port), peer.pid))
    return Beside(_median(gateway), _median(bare))


async def _serve(load: Load, pid: int) -> Served:
    used = cpu_seconds({_SERVER: pid})[_SERVER]
    result = await generate(load)
    used = cpu_seconds({_SERVER: pid})[_SERVER] - used
    return Served(result, used * 1000 / result.requests)


def _median(rounds: Sequence[Served]) -> Served:
    middle = statistics.median_low([one.load.per_second for one in rounds])
    return next(one for one in rounds if one.load.per_second == middle)
