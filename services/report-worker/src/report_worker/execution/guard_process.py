"""The guard as its worker sees it: told of each child, and started again should it end."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from report_worker.execution.environment import child_environment
from shared.backoff import Backoff

_SCRIPT: Final = Path(__file__).with_name("guard.py")
_EXIT_TIMEOUT: Final = 5.0
_log = structlog.get_logger()


class Guard:
    """Ends what children started themselves, where this process is killed and can't do so."""

    def __init__(self) -> None:
        self._watched: set[int] = set()
        self._pipe: int | None = None
        self._backoff = Backoff(first=0.5, longest=15.0)

    def watch(self, group: int) -> None:
        """Have a child's process group ended with this process."""
        self._watched.add(group)
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Leave a group alone that has been ended: its number may be given to others."""
        self._watched.discard(group)
        self._tell(f"-{group}\n")

    async def keep(self) -> None:
        """Keep the guard alive for ever."""
        retry = 0
        while True:
            retry += 1
            try:
                exit_code = await self._stand_by()
                _log.error("guard ended", exit_code=exit_code, retry=retry)
            except OSError as error:
                _log.error("guard did not start", error=type(error).__name__, retry=retry)
            await asyncio.sleep(self._backoff.delay(retry))

    async def _stand_by(self) -> int:
        """Run one guard to its end; it ends by itself when the pipe is closed."""
        process: asyncio.subprocess.Process | None = None
        try:
            with self._piped() as standard_input:
                process = await _spawn(standard_input)
                return await process.wait()
        finally:
            if process is not None:
                await _gone(process)

    @contextmanager
    def _piped(self) -> Iterator[int]:
        """Open a pipe that already tells of all that is watched; gives its other end."""
        theirs, ours = os.pipe()
        os.set_blocking(ours, False)
        self._pipe = ours
        try:
            self._tell("".join(f"+{group}\n" for group in self._watched))
            yield theirs
        finally:
            self._pipe = None
            os.close(ours)
            os.close(theirs)

    def _tell(self, lines: str) -> None:
        """Write to the pipe; a guard that has ended is told again when there is another."""
        if self._pipe is not None:
            with suppress(OSError):
                os.write(self._pipe, lines.encode())


async def _spawn(standard_input: int) -> asyncio.subprocess.Process:
    # In a session of its own: whoever kills the worker's session leaves its guard alone.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(_SCRIPT),
        stdin=standard_input,
        stdout=asyncio.subprocess.DEVNULL,
        env=child_environment(),
        start_new_session=True,
    )


async def _gone(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_EXIT_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
