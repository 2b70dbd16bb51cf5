"""Warm child processes, one per slot: whatever a job does to its child ends that job alone."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from report_worker.domain import Failure, Generated, Lost, Outcome
from report_worker.execution.protocol import (
    ANSWERS,
    Assignment,
    Done,
    Failed,
    Ready,
    Setup,
    receive,
    send,
)
from shared.backoff import Backoff

_START_TIMEOUT: Final = 60.0
_GONE: Final = (asyncio.IncompleteReadError, OSError, ValueError)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Child:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, assignment: Assignment) -> Ready | Done | Failed:
        await send(self.writer, assignment)
        return ANSWERS.validate_json(await receive(self.reader))

    async def kill(self) -> None:
        self.writer.close()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


class ChildPool:
    """Executes assignments, each in a child of its own for as long as it runs."""

    def __init__(self, setup: Setup, *, attempt_timeout: float) -> None:
        self._setup = setup
        self._attempt_timeout = attempt_timeout
        self._idle: list[_Child] = []
        self._backoff = Backoff(first=0.5, longest=15.0)

    @asynccontextmanager
    async def warm(self, count: int) -> AsyncIterator[None]:
        """Start `count` children in the background; kill all that are left at the end."""
        warming = asyncio.create_task(self._warm(count))
        try:
            yield
        finally:
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            await asyncio.gather(*(child.kill() for child in self._idle))
            self._idle.clear()

    async def execute(self, assignment: Assignment) -> Outcome:
        """Run one assignment; cancelling this kills its child."""
        child = self._idle.pop() if self._idle else await self._start_patiently()
        try:
            async with asyncio.timeout(self._attempt_timeout):
                answer = await child.ask(assignment)
        except TimeoutError:
            await child.kill()
            return Failure(
                code="TIMED_OUT",
                message=f"The report took longer than {self._attempt_timeout:g} seconds.",
                transient=False,
            )
        except _GONE:
            await child.kill()
            _log.warning("child lost", job_id=assignment.job_id, exit_code=child.process.returncode)
            return Lost()
        except asyncio.CancelledError:
            await child.kill()
            raise
        self._idle.append(child)
        return _outcome(answer)

    async def _warm(self, count: int) -> None:
        for _ in range(count):
            self._idle.append(await self._start_patiently())

    async def _start_patiently(self) -> _Child:
        """Start a child, however often it takes: a slot without one is of no use."""
        retry = 0
        while True:
            try:
                return await self._start()
            except (TimeoutError, *_GONE) as error:
                retry += 1
                _log.error("child did not start", error=type(error).__name__, retry=retry)
                await asyncio.sleep(self._backoff.delay(retry))

    async def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "report_worker.execution.child",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        child = _Child(process, reader, writer)
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                await send(writer, self._setup)
                ANSWERS.validate_json(await receive(reader))
        except BaseException:
            await child.kill()
            raise
        return child


def _environment() -> dict[str, str]:
    """Return the parent's environment without the worker's settings, which hold secrets.

    What the object store's client reads from it (credentials, endpoints) stays.
    """
    withheld = ("REPORT_WORKER_", "JOB_ID_KEYS", "LINK_KEYS")
    return {name: value for name, value in os.environ.items() if not name.startswith(withheld)}


def _outcome(answer: Ready | Done | Failed) -> Outcome:
    match answer:
        case Done():
            return Generated(answer.artifact, answer.row_count)
        case Failed():
            return Failure(answer.code, answer.message, answer.transient)
        case Ready():
            return Lost()
