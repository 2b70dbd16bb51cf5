"""The guard: outlives a worker that was killed by a moment, to end what its children started.

Children die with their worker, and in its life it ends their process groups; who would end those
of a worker that was killed? Run by its path as `python -I -S guard.py`, so that it imports next to
nothing. Standard input is a pipe that the worker alone holds: `+PID` begins to watch the process
group that a child leads, `-PID` leaves it alone. Whatever is watched when the pipe ends is killed.
"""

import os
import signal
import sys
from collections.abc import Iterable


def main() -> None:
    """Watch until the worker is gone."""
    # Meant for the worker, which may take its time to stop: it needs its guard to the end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for group in left_at_end(sys.stdin):
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def left_at_end(lines: Iterable[str]) -> set[int]:
    """Return the groups that are still watched when the lines end."""
    watched: set[int] = set()
    for line in lines:
        change = watched.add if line.startswith("+") else watched.discard
        change(int(line[1:]))
    return watched


if __name__ == "__main__":
    main()
