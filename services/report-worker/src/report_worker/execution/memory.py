"""How much memory a child takes, and how much of it the kernel lets it ask for."""

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_HEADROOM: Final = 2
_OUT_OF_MEMORY_SCORE: Final = "500"


def private_bytes(pid: int) -> int:
    """Return the bytes of a process's own memory that are in use; 0 where that can't be known.

    What it shares (libraries, mapped fonts) costs the machine only once and isn't counted. What is
    mapped but never touched costs nothing, so a limit on the address space would hit the innocent.
    """
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


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
