"""How much memory a process and its children hold at most, from /proc."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.errors import BenchmarkError

_LOOKS_EVERY: Final = 0.02
_RESIDENT: Final = "VmRSS:"
_STEADY_EVERY: Final = 0.5
_STEADY_LOOKS: Final = 4
_START_SECONDS: Final = 120.0


@dataclass(slots=True)
class Peak:
    """The most that was seen, in MiB; pages that processes share are counted for each."""

    mib: float = 0.0


@asynccontextmanager
async def watched_memory(pid: int) -> AsyncIterator[Peak]:
    """Look at a process and its children fifty times a second while the body runs."""
    peak = Peak()

    async def watch() -> None:
        while True:
            peak.mib = max(peak.mib, sum(map(_resident_mib, (pid, *_children(pid)))))
            await asyncio.sleep(_LOOKS_EVERY)

    watching = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def renew_children(pid: int, command: str) -> None:
    """Kill a process's children of this command; return when those in their place have started.

    A child that starts takes more and more memory; one that has started takes no more.
    """
    old = set(_children_of(pid, command))
    for child in old:
        os.kill(child, signal.SIGKILL)
    steady, before = 0, 0.0
    deadline = time.perf_counter() + _START_SECONDS
    while steady < _STEADY_LOOKS:
        await asyncio.sleep(_STEADY_EVERY)
        new = _children_of(pid, command)
        taken = sum(map(_resident_mib, new))
        is_whole = len(new) == len(old) and old.isdisjoint(new)
        steady = steady + 1 if is_whole and taken == before else 0
        before = taken
        if time.perf_counter() > deadline:
            raise BenchmarkError("the worker's children didn't start anew")


def _children_of(pid: int, command: str) -> list[int]:
    return [child for child in _children(pid) if command in _command(child)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _children(pid: int) -> list[int]:
    return [
        int(child)
        for children in Path(f"/proc/{pid}/task").glob("*/children")
        for child in children.read_text().split()
    ]


def _resident_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    kib = next((line.split()[1] for line in lines if line.startswith(_RESIDENT)), "0")
    return int(kib) / 1024
