"""How much memory a process and its children hold at most, from /proc."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOOKS_EVERY: Final = 0.02
_RESIDENT: Final = "VmRSS:"


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
