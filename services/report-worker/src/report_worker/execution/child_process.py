"""One child process as its parent sees it: started, asked, stopped, killed."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from report_worker.execution.channel import Channel, open_channel
from report_worker.execution.environment import child_environment
from report_worker.execution.memory import MemoryGauge
from report_worker.execution.protocol import (
    REPLIES,
    Assignment,
    Cancel,
    Done,
    Failed,
    Order,
    OutOfMemory,
    Progressed,
    Ready,
    Reply,
    Setup,
    Stopped,
)
from shared.events import Progress

_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 1.0
_EXIT_TIMEOUT: Final = 5.0
_log = structlog.get_logger()


class ChildProcess:
    """A process and the channel to it.

    One that is gone raises `ConnectionResetError` from whatever is waited for.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._gauge = MemoryGauge(process.pid)
        self._channel: Channel | None = None
        self._on_progress: Callable[[Progress], None] | None = None
        self._awaited: tuple[type[Reply], ...] = ()
        self._reply: asyncio.Future[Reply] | None = None
        self._is_killed = False
        self.is_out_of_memory = False

    @classmethod
    async def start(cls, setup: Setup) -> "ChildProcess":
        """Return a child that is ready; raises `OSError` where it doesn't become ready."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child = cls(await _spawn(theirs.fileno()))
        except BaseException:
            ours.close()
            raise
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                child._channel = await open_channel(ours, child._received, child._disconnected)
                await child._ask(setup, Ready)
        except BaseException:
            child.kill()
            await child.ended()
            raise
        return child

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def exit_code(self) -> int:
        """Wait for the end; the code is negative where a signal ended it."""
        return await self._process.wait()

    async def execute(
        self, assignment: Assignment, on_progress: Callable[[Progress], None]
    ) -> Done | Failed | OutOfMemory:
        """Hand over an assignment and wait for what comes of it."""
        self._on_progress = on_progress
        try:
            reply = await self._ask(assignment, Done, Failed, OutOfMemory)
        finally:
            self._on_progress = None
        assert isinstance(reply, Done | Failed | OutOfMemory)  # noqa: S101 - asked for
        return reply

    async def stop(self) -> bool:
        """Ask the child to stop what it does; tell whether it did within a second."""
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await self._ask(Cancel(), Stopped)
        except (TimeoutError, ConnectionError):
            return False
        return True

    @property
    def memory(self) -> int:
        """Bytes that it uses."""
        return self._gauge.private_bytes

    def kill_for_memory(self) -> None:
        """Kill, and remember that it was for the memory that it took."""
        self.is_out_of_memory = True
        self.kill()

    def kill(self) -> None:
        """Kill, without waiting: a process that hangs in the kernel mustn't keep us.

        What the child started itself dies with it, also where the child has ended already: it
        leads a process group of its own.
        """
        if self._channel is not None:
            self._channel.close()
        if not self._is_killed:
            self._is_killed = True
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Wait for the end of a child that was killed, but not for ever."""
        self._gauge.close()
        try:
            async with asyncio.timeout(_EXIT_TIMEOUT):
                await self._process.wait()
        except TimeoutError:
            _log.error("child can't be killed", pid=self.pid)

    async def _ask(self, order: Order, *awaited: type[Reply]) -> Reply:
        """Send an order and wait for a reply of these kinds; what comes before it is stale."""
        if self._channel is None or self._channel.is_closed:
            raise ConnectionResetError("the child is gone")
        self._awaited = awaited
        self._reply = asyncio.get_running_loop().create_future()
        self._channel.send(order)
        return await self._reply

    def _received(self, body: bytes) -> None:
        reply = REPLIES.validate_json(body)
        if isinstance(reply, Progressed):
            if self._on_progress is not None:
                self._on_progress(reply.progress)
        elif isinstance(reply, self._awaited) and self._reply and not self._reply.done():
            self._reply.set_result(reply)

    def _disconnected(self) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionResetError("the child is gone"))


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
        env=child_environment(),
        start_new_session=True,
    )
