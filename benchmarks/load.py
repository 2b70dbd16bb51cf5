"""The load generator: keeps some connections busy, in a process of its own.

Run as `python -m benchmarks.load`: it reads a `Load` as JSON from standard input and writes a
`LoadResult` as JSON to standard output.
"""

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import uvloop
from pydantic import TypeAdapter

from benchmarks.errors import BenchmarkError
from benchmarks.samples import Summary
from benchmarks.wire import ANSWER_SECONDS, NUMBER, Answer, Wire
from local_stack.paths import CHECKOUT
from local_stack.ports import LOOPBACK

CONNECTIONS: Final = 32

_NUMBER: Final = NUMBER.encode()
_LOST: Final = "connection lost"


@dataclass(frozen=True, slots=True)
class Load:
    """Requests to a loopback port, taken in turns, by connections that each wait for the answer.

    It ends after `seconds`, or after `count` requests where that is given. What is answered in the
    first `warm_up` seconds isn't counted.
    """

    port: int
    requests: tuple[str, ...]
    expected_status: int
    seconds: float
    warm_up: float = 0.0
    count: int | None = None
    connections: int = CONNECTIONS


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How a load was answered; `own_cpu` is the share of one core that generating it took."""

    latency: Summary
    per_second: float
    requests: int
    """All that were answered, those of the warm-up too."""
    own_cpu: float
    unexpected: dict[str, int]


_LOAD: Final = TypeAdapter(Load)
_RESULT: Final = TypeAdapter(LoadResult)


async def generate(load: Load) -> LoadResult:
    """Generate a load from a process of its own and return how it was answered.

    Raises:
        BenchmarkError: where the generator fails, or any answer wasn't the one expected.

    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=CHECKOUT,
    )
    try:
        async with asyncio.timeout(load.warm_up + load.seconds + 2 * ANSWER_SECONDS):
            output, _ = await process.communicate(_LOAD.dump_json(load))
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise BenchmarkError("the load generator failed")
    result = _RESULT.validate_json(output)
    if result.unexpected:
        raise BenchmarkError(f"answers that weren't {load.expected_status}: {result.unexpected}")
    return result


@dataclass(slots=True)
class _Tally:
    counted_from: float
    until: float
    requests: Iterator[bytes]
    expected_status: int
    answered: int = 0
    latencies: list[float] = field(default_factory=list)
    unexpected: Counter[str] = field(default_factory=Counter)

    def next_request(self) -> bytes | None:
        return next(self.requests, None) if time.perf_counter() < self.until else None

    def note(self, answer: Answer, latency: float) -> None:
        self.answered += 1
        if answer.status != self.expected_status:
            self.unexpected[str(answer.status)] += 1
        if time.perf_counter() >= self.counted_from:
            self.latencies.append(latency)


class _Lane:
    """One connection that is always busy."""

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally
        self._sent_at = 0.0
        self._ended = asyncio.get_running_loop().create_future()
        self._wire = Wire(self._answered, self._lost)

    async def run(self, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self._wire, LOOPBACK, port)
        self._go_on()
        await self._ended

    def _go_on(self) -> None:
        request = self._tally.next_request()
        if request is None:
            self._end()
            return
        self._sent_at = time.perf_counter()
        self._wire.send(request)

    def _answered(self, answer: Answer) -> None:
        self._tally.note(answer, time.perf_counter() - self._sent_at)
        self._go_on()

    def _lost(self) -> None:
        if not self._ended.done():
            self._tally.unexpected[_LOST] += 1
            self._end()

    def _end(self) -> None:
        self._ended.set_result(None)
        self._wire.close()


def _numbered(request: bytes) -> bytes:
    """Put a number of its own into a request that has room for one."""
    return (
        request.replace(_NUMBER, b"%d" % time.monotonic_ns(), 1) if _NUMBER in request else request
    )


async def _run(load: Load) -> LoadResult:
    encoded = map(_numbered, itertools.cycle([request.encode() for request in load.requests]))
    counted_from = time.perf_counter() + load.warm_up
    tally = _Tally(
        counted_from=counted_from,
        until=counted_from + load.seconds,
        requests=itertools.islice(encoded, load.count),
        expected_status=load.expected_status,
    )
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_Lane(tally).run(load.port) for _ in range(load.connections)))
    now = time.perf_counter()
    return LoadResult(
        latency=Summary.of(tally.latencies),
        per_second=len(tally.latencies) / (now - counted_from),
        requests=tally.answered,
        own_cpu=(time.process_time() - cpu) / (now - began),
        unexpected=dict(tally.unexpected),
    )


def main() -> None:
    """Generate the load on standard input."""
    load = _LOAD.validate_json(sys.stdin.buffer.read())
    sys.stdout.buffer.write(_RESULT.dump_json(uvloop.run(_run(load))))


if __name__ == "__main__":
    main()
