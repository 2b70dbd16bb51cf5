"""How much memory a child takes, and how much of it the kernel lets it ask for."""

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_LINE: Final = 256
"""Bytes, more than the kernel's line has."""

_HEADROOM: Final = 2
_OUT_OF_MEMORY_SCORE: Final = "500"


class MemoryGauge:
    """Tells how much memory a process uses; asked after each job, so its file is kept open.

    What it shares (libraries, mapped fonts) costs the machine only once and isn't counted. What is
    mapped but never touched costs nothing, so a limit on the address space would hit the innocent.
    """

    def __init__(self, pid: int) -> None:
        self._file: int | None = None
        with suppress(OSError):
            self._file = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def private_bytes(self) -> int:
        """Bytes of the process's own memory that are in use; 0 where that can't be known."""
        if self._file is None:
            return 0
        try:
            _, resident, shared, *_ = os.pread(self._file, _LINE, 0).split()
        except (OSError, ValueError):
            return 0
        return (int(resident) - int(shared)) * _PAGE

    def close(self) -> None:
        """Ask no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def limit_own_memory(limit: int) -> None:
    """Bound what this process can ask for at twice the limit that its parent holds it to.

    The parent looks a few times a second; a child that takes gigabytes in between is refused by
    the kernel. If the whole machine runs short, the kernel chooses children before their parent.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = limit * _HEADROOM
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    with suppress(OSError):  # elsewhere than on Linux there is no such file
        Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_SCORE)
