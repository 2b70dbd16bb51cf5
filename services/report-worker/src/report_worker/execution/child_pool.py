"""Warm child processes, one per slot: whatever a job does to its child ends that job alone."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
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
_STARTS_AT_ONCE: Final = 2  # a start keeps a core busy for about a second
_EXIT_TIMEOUT: Final = 5.0
_GONE: Final = (asyncio.IncompleteReadError, OSError, ValueError)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class _Child:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, assignment: Assignment) -> Outcome:
        await send(self.writer, assignment)
        return _outcome(ANSWERS.validate_json(await receive(self.reader)))

    def kill(self) -> None:
        """Kill, without waiting: a process that hangs in the kernel mustn't keep us."""
        self.writer.close()
        if self.process.returncode is None:
            self.process.kill()


class ChildPool:
    """Executes assignments, each in a child of its own for as long as it runs.

    There are `size` children. One that ends, for whatever reason, is replaced at once.
    """

    def __init__(self, setup: Setup, *, size: int, attempt_timeout: float) -> None:
        self._setup = setup
        self._size = size
        self._attempt_timeout = attempt_timeout
        self._alive: set[_Child] = set()
        self._idle: asyncio.LifoQueue[_Child] = asyncio.LifoQueue()
        self._starts = asyncio.Semaphore(_STARTS_AT_ONCE)
        self._backoff = Backoff(first=0.5, longest=15.0)

    @property
    def capacity(self) -> int:
        """How many children are alive, idle or not."""
        return len(self._alive)

    async def require_children(self) -> None:
        """Raise unless at least one child is alive."""
        if not self._alive:
            raise ChildProcessError("no child process is alive")

    @asynccontextmanager
    async def warm(self, is_ready: Callable[[], None]) -> AsyncIterator[None]:
        """Keep the children alive during the body, and kill them after it.

        `is_ready` is called whenever one becomes ready.
        """
        keepers = [asyncio.create_task(self._keep(is_ready)) for _ in range(self._size)]
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def execute(self, assignment: Assignment) -> Outcome:
        """Run one assignment; cancelling this kills its child."""
        child = await self._take()
        is_reusable = False
        try:
            async with asyncio.timeout(self._attempt_timeout):
                outcome = await child.ask(assignment)
            is_reusable = True
        except TimeoutError:
            outcome = Failure(
                code="TIMED_OUT",
                message=f"The report took longer than {self._attempt_timeout:g} seconds.",
                transient=False,
            )
        except _GONE as error:
            _log.warning("child lost", job_id=assignment.job_id, error=type(error).__name__)
            outcome = Lost()
        finally:
            if is_reusable:
                self._idle.put_nowait(child)
            else:
                self._discard(child)
        return outcome

    async def _take(self) -> _Child:
        while True:
            child = await self._idle.get()
            # One that died while it was idle loses nobody's job.
            if child in self._alive:
                return child

    def _discard(self, child: _Child) -> None:
        self._alive.discard(child)
        child.kill()

    async def _keep(self, is_ready: Callable[[], None]) -> None:
        """Keep one child alive for ever."""
        while True:
            child = await self._start_patiently()
            self._alive.add(child)
            self._idle.put_nowait(child)
            is_ready()
            try:
                exit_code = await child.process.wait()
                _log.warning("child ended", pid=child.process.pid, exit_code=exit_code)
            finally:
                self._discard(child)
                await _ended(child)

    async def _start_patiently(self) -> _Child:
        """Start a child, however often it takes."""
        retry = 0
        while True:
            try:
                async with self._starts:
                    return await self._start()
            except (TimeoutError, *_GONE) as error:
                retry += 1
                _log.error("child did not start", error=type(error).__name__, retry=retry)
                await asyncio.sleep(self._backoff.delay(retry))

    async def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _spawn(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        reader, writer = await asyncio.open_connection(sock=ours)
        child = _Child(process, reader, writer)
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                await send(writer, self._setup)
                ANSWERS.validate_json(await receive(reader))
        except BaseException:
            child.kill()
            await _ended(child)
            raise
        return child


async def _spawn(descriptor: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "report_worker.execution.child",
        str(descriptor),
        pass_fds=(descriptor,),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )


async def _ended(child: _Child) -> None:
    """Wait for the end of a child that was killed, but not for ever."""
    try:
        async with asyncio.timeout(_EXIT_TIMEOUT):
            await child.process.wait()
    except TimeoutError:
        _log.error("child can't be killed", pid=child.process.pid)


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
            raise ValueError("a child said that it is ready in the middle of a job")
