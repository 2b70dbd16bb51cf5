"""The child process: takes one assignment at a time and ends with its parent, come what may.

Run as `python -m report_worker.execution.child FD`, with one end of the parent's socket as FD.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from typing import Final

import structlog
import uvloop

from report_worker.domain import INTERNAL_ERROR
from report_worker.execution.channel import Channel, open_channel
from report_worker.execution.memory import limit_own_memory
from report_worker.execution.protocol import (
    ORDERS,
    Assignment,
    Cancel,
    Done,
    Failed,
    OutOfMemory,
    Progressed,
    Ready,
    Setup,
    Stopped,
)
from report_worker.reports import (
    ProgressReporter,
    ReportError,
    ReportSpec,
    SourceSessions,
    discard_artifact,
    generate,
    open_store,
    pass_over_abandoned_copies,
    storable,
)
from shared.catalogue import Catalogue
from shared.events import Artifact, Progress
from shared.telemetry.logs import configure_logging

_PR_SET_PDEATHSIG: Final = 1
_PROGRESS_EVERY: Final = 0.5
_LONGEST_MESSAGE: Final = 2000
_log = structlog.get_logger()

_Answer = Done | Failed | OutOfMemory
_DEFECT: Final = Failed(
    code=INTERNAL_ERROR.code,
    message=INTERNAL_ERROR.message,
    transient=INTERNAL_ERROR.transient,
)


def main(descriptor: int) -> None:
    """Serve the parent at the other end of the socket until it closes it."""
    _die_with_parent()
    uvloop.run(_serve(socket.socket(fileno=descriptor)))
    # The object store's threads may outlive the loop and race the interpreter's teardown.
    os._exit(0)


def _die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, however busy it is.

    Elsewhere than on Linux the end of the socket has to do: it is noticed between two awaits.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent decides when a job ends. A Ctrl-C at the terminal, or the SIGTERM that a service
    # manager sends to all processes of a service, is the parent's to answer, with a drain.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


async def _serve(connection: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(pass_over_abandoned_copies)
    orders: asyncio.Queue[bytes | None] = asyncio.Queue()
    channel = await open_channel(
        connection, on_frame=orders.put_nowait, on_end=lambda: orders.put_nowait(None)
    )
    executor: _Executor | None = None
    while (body := await orders.get()) is not None:
        order = ORDERS.validate_json(body)
        match order:
            case Setup():
                configure_logging(service="report-worker-child", level=order.log_level)
                limit_own_memory(order.memory_limit)
                executor = _Executor(order, channel)
                channel.send(Ready())
            case Assignment() if executor:
                executor.start(order)
            case Cancel() if executor:
                await executor.cancel()
            case _:
                raise ValueError(f"{order.kind} came before the setup")


class _Executor:
    """Executes assignments; the parent sends one only after the answer to the one before."""

    def __init__(self, setup: Setup, channel: Channel) -> None:
        self._channel = channel
        self._catalogue = Catalogue(setup.catalogue)
        self._sources = SourceSessions(setup.sources)
        self._store = open_store(setup.artifacts_url)
        self._job: asyncio.Task[None] | None = None
        self._is_cancelled = False
        self._made: str | None = None

    def start(self, assignment: Assignment) -> None:
        """Begin to execute; the answer goes out by itself."""
        self._made = None
        self._is_cancelled = False
        self._job = asyncio.create_task(self._execute(assignment))
        self._job.add_done_callback(self._answer_anyway)

    async def cancel(self) -> None:
        """Stop what runs, and leave nothing of it or of what has just been finished.

        Report code that ignores a cancellation keeps this waiting; the parent doesn't wait long.
        """
        self._is_cancelled = True
        if self._job is not None:
            self._job.cancel()
            await asyncio.wait((self._job,))
        if self._made is not None:
            await discard_artifact(self._store, self._made)
        self._channel.send(Stopped())

    async def _execute(self, assignment: Assignment) -> None:
        structlog.contextvars.bind_contextvars(
            job_id=assignment.job_id, run=assignment.run, attempt=assignment.attempt
        )
        progress = ProgressReporter()
        with _Sampling(progress, self._channel):
            answer = await self._outcome(assignment, progress)
        self._channel.send(answer)

    async def _outcome(self, assignment: Assignment, progress: ProgressReporter) -> _Answer:
        try:
            return await self._generate(assignment, progress)
        except ReportError as error:
            return _failed(error)
        except MemoryError:
            _log.exception("out of memory")
            return OutOfMemory()
        except Exception:  # noqa: BLE001 - a defect ends this job, not the child
            _log.exception("attempt failed unexpectedly")
            return _DEFECT

    def _answer_anyway(self, job: asyncio.Task[None]) -> None:
        """Answer for a job that ended without an answer, though nobody cancelled it.

        A plugin may raise a `CancelledError` of its own, or something else that is no `Exception`;
        without an answer the parent would wait until the job's time is over. Where the parent is
        gone, the job is cancelled with all that goes on here.
        """
        error = asyncio.CancelledError() if job.cancelled() else job.exception()
        is_stopped = self._is_cancelled or self._channel.is_closed
        if error is not None and not is_stopped:
            _log.error("attempt ended without an answer", exc_info=error)
            self._channel.send(_DEFECT)

    async def _generate(self, assignment: Assignment, progress: ProgressReporter) -> Done:
        report_type = self._catalogue.get(assignment.request.report_type)
        if report_type is None:
            raise LookupError(f"no report type {assignment.request.report_type} in this child")
        spec = ReportSpec(report_type, assignment.request, assignment.started_at)
        report = await generate(
            spec,
            sources=self._sources,
            store=self._store,
            path=f"{assignment.folder}/{spec.file_name}",
            progress=progress,
        )
        self._made = report.path
        return Done(
            artifact=Artifact(
                path=report.path,
                file_name=report.file_name,
                media_type=report.media_type,
                byte_count=report.bytes,
                sha256=report.sha256,
            ),
            row_count=report.rows,
        )


def _failed(error: ReportError) -> Failed:
    """Tell of an error in words that events can carry: a plugin may write anything into them."""
    message = storable(str(error.message))
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    return Failed(code=error.code, message=message, transient=error.transient)


class _Sampling:
    """Sends the newest progress to the parent about twice a second, where it has changed."""

    def __init__(self, progress: ProgressReporter, channel: Channel) -> None:
        self._progress = progress
        self._channel = channel
        self._sent: Progress | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._wait()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PROGRESS_EVERY, self._sample)

    def _sample(self) -> None:
        newest = self._progress.newest
        if newest is not None and newest != self._sent:
            self._channel.send(Progressed(progress=newest))
            self._sent = newest
        self._wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
