"""Warm child processes, one per slot: whatever a job does to its child ends that job alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from report_worker.domain import (
    TIMED_OUT,
    Failure,
    Generated,
    LossReason,
    Lost,
    Outcome,
    Released,
)
from report_worker.execution.child_process import ChildProcess
from report_worker.execution.guard_process import Guard
from report_worker.execution.protocol import Assignment, Done, Failed, OutOfMemory, Setup
from shared.backoff import Backoff
from shared.events import Progress

_STARTS_AT_ONCE: Final = 2  # a start keeps a core busy for about a second
_LOOK_EVERY: Final = 0.2  # at the children's memory, in seconds
_log = structlog.get_logger()


class ChildPool:
    """Executes assignments, each in a child of its own for as long as it runs.

    There are `size` children. One that ends, for whatever reason, is replaced at once. One that
    takes more than the setup's memory limit is killed; one that still holds more than half of it
    after its job is replaced, before it can fail a job that takes little.
    """

    def __init__(self, setup: Setup, *, size: int, patience: float = 10.0) -> None:
        self._setup = setup
        self._size = size
        self._patience = patience
        self._guard = Guard()
        self._alive: set[ChildProcess] = set()
        self._idle: asyncio.LifoQueue[ChildProcess] = asyncio.LifoQueue()
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
        keepers.append(asyncio.create_task(self._watch_memory()))
        keepers.append(asyncio.create_task(self._guard.keep()))
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def execute(
        self, assignment: Assignment, on_progress: Callable[[Progress], None]
    ) -> Outcome:
        """Run one assignment; `on_progress` is called about twice a second while it goes on.

        Cancelling this, like the end of `max_duration`, stops the assignment: its child is asked,
        and killed where it doesn't stop within a second. Nothing is left of it where the child did.
        Where no child is there for it within `patience` seconds it is released: another worker may
        have one.
        """
        try:
            async with asyncio.timeout(self._patience):
                child = await self._take()
        except TimeoutError:
            _log.error("no child for an attempt", job_id=assignment.job_id)
            return Released()
        is_reusable = False
        try:
            async with asyncio.timeout(assignment.max_duration):
                reply = await child.execute(assignment, on_progress)
            is_reusable = not isinstance(reply, OutOfMemory)
            return _outcome(reply)
        except TimeoutError:
            is_reusable = await child.stop()
            return _timed_out(assignment)
        except asyncio.CancelledError:
            is_reusable = await child.stop()
            raise
        except ConnectionError:
            reason = LossReason.OUT_OF_MEMORY if child.is_out_of_memory else LossReason.CRASHED
            _log.warning("child lost", job_id=assignment.job_id, pid=child.pid, reason=reason)
            return Lost(reason)
        finally:
            if is_reusable and child.memory <= self._setup.memory_limit // 2:
                self._idle.put_nowait(child)
            else:
                self._discard(child)

    async def _watch_memory(self) -> None:
        """Kill children that take too much, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            for child in self._alive:
                if not child.is_out_of_memory and child.memory > self._setup.memory_limit:
                    child.kill_for_memory()

    async def _take(self) -> ChildProcess:
        while True:
            child = await self._idle.get()
            # One that died while it was idle loses nobody's job.
            if child in self._alive:
                return child

    def _discard(self, child: ChildProcess) -> None:
        self._alive.discard(child)
        child.kill()

    async def _keep(self, is_ready: Callable[[], None]) -> None:
        """Keep one child alive for ever."""
        while True:
            child = await self._start_patiently()
            self._guard.watch(child.pid)
            self._alive.add(child)
            self._idle.put_nowait(child)
            is_ready()
            try:
                exit_code = await child.exit_code()
                _log.warning("child ended", pid=child.pid, exit_code=exit_code)
            finally:
                self._discard(child)
                await child.ended()
                self._guard.forget(child.pid)

    async def _start_patiently(self) -> ChildProcess:
        """Start a child, however often it takes."""
        retry = 0
        while True:
            try:
                async with self._starts:
                    return await ChildProcess.start(self._setup)
            except OSError as error:  # a TimeoutError is one, too
                retry += 1
                _log.error("child did not start", error=type(error).__name__, retry=retry)
                await asyncio.sleep(self._backoff.delay(retry))


def _outcome(reply: Done | Failed | OutOfMemory) -> Outcome:
    match reply:
        case Done():
            return Generated(reply.artifact, reply.row_count)
        case Failed():
            return Failure(reply.code, reply.message, reply.transient)
        case OutOfMemory():
            return Lost(LossReason.OUT_OF_MEMORY)


def _timed_out(assignment: Assignment) -> Failure:
    return Failure(
        code=TIMED_OUT,
        message=f"The report took longer than the {assignment.max_duration:g} seconds that it may.",
        transient=False,
    )
