"""`make bench`: starts a stack of its own, measures, prints ratios, and stops the stack.

`python -m benchmarks latency` measures that alone; docs/performance.md says what each figure means.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

import asyncpg
import uvloop
from aiokafka.errors import KafkaError

from benchmarks.cpu import all_cpu_seconds, cpu_seconds, own_cpu_seconds
from benchmarks.errors import BenchmarkError
from benchmarks.jobs import ReadModel, submit
from benchmarks.limits import measure_limits
from benchmarks.measure_exports import measure_exports
from benchmarks.measure_http import measure_http
from benchmarks.measure_latency import measure_latency
from benchmarks.measure_listing import measure_listing
from benchmarks.measure_throughput import measure_throughput
from benchmarks.report import Figures, lines, save, this_machine
from benchmarks.stack import HOME, Stack, fresh_stack
from local_stack.errors import SetupError
from local_stack.launch import die_with_parent
from shared.clock import utc_now

MEASUREMENTS: Final = ("latency", "throughput", "http", "exports", "listing")

_WARM_UP_JOBS: Final = 300
_WARM_UP_SECONDS: Final = 60.0
_INTERRUPTED: Final = 130


def main() -> None:
    """Measure, and exit with a status."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("measurement", nargs="*", help=", ".join(MEASUREMENTS) + "; all by default")
    chosen = parser.parse_args().measurement or MEASUREMENTS
    if unknown := set(chosen) - set(MEASUREMENTS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    die_with_parent()
    try:
        with fresh_stack(_say) as stack:
            figures = uvloop.run(_measure(stack, chosen))
    except (BenchmarkError, SetupError, OSError, asyncpg.PostgresError, KafkaError) as error:
        sys.exit(f"benchmarks: {str(error) or type(error).__name__}")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    results = HOME / "results.json"
    save(results, figures)
    print("", *lines(figures), "", f"all of it in {results}", sep="\n")


async def _measure(stack: Stack, chosen: Sequence[str]) -> Figures:
    """Measure one after the other; the tens of thousands of jobs that HTTP leaves come late.

    Pages are measured after them, with the services held still.
    """
    others, began = _used_by_others(stack), time.perf_counter()
    _say("warming up")
    await _warm_up(stack)
    _say("raw limits")
    limits = await measure_limits(stack)
    latency = throughput = http = exports = listing = None
    if "latency" in chosen:
        _say("latency")
        latency = await measure_latency(stack)
    if "throughput" in chosen:
        _say("throughput")
        throughput = await measure_throughput(stack)
    if "exports" in chosen:
        _say("exports of five million rows")
        exports = await measure_exports(stack)
    if "http" in chosen:
        _say("requests per second")
        http = await measure_http(stack)
    if "listing" in chosen:
        _say("pages of a million jobs")
        listing = await measure_listing(stack)
    others = (_used_by_others(stack) - others) / (time.perf_counter() - began)
    return Figures(
        utc_now(), this_machine(), others, limits, latency, throughput, http, exports, listing
    )


def _used_by_others(stack: Stack) -> float:
    return all_cpu_seconds() - own_cpu_seconds() - sum(cpu_seconds(stack.pids).values())


async def _warm_up(stack: Stack) -> None:
    await submit(stack, _WARM_UP_JOBS)
    connection = await asyncpg.connect(stack.database)
    try:
        read_model = ReadModel(connection)
        await read_model.wait_for_completed(_WARM_UP_JOBS, seconds=_WARM_UP_SECONDS)
    finally:
        await connection.close()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
