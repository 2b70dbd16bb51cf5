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
from report_worker.execution.protocol import Assignment, Done, Failed, Ready, Setup, receive, send
from report_worker.reports import ReportError, ReportSpec, generate, open_store
from shared.catalogue import Catalogue
from shared.events import Artifact
from shared.telemetry.logs import configure_logging

_PR_SET_PDEATHSIG: Final = 1
_PARENT_GONE: Final = (asyncio.IncompleteReadError, ConnectionError)
_log = structlog.get_logger()


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
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        setup = Setup.model_validate_json(await receive(reader))
    except _PARENT_GONE:
        return
    configure_logging(service="report-worker-child", level=setup.log_level)
    executor = _Executor(setup)
    await send(writer, Ready())
    following = asyncio.create_task(receive(reader))
    while True:
        try:
            body = await following
        except _PARENT_GONE:
            return
        job = asyncio.create_task(executor.execute(Assignment.model_validate_json(body)))
        # The parent sends nothing while a job runs: if this read ends first, the parent is gone.
        following = asyncio.create_task(receive(reader))
        await asyncio.wait((job, following), return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            return
        await send(writer, job.result())


class _Executor:
    def __init__(self, setup: Setup) -> None:
        self._catalogue = Catalogue(setup.catalogue)
        self._sources = setup.sources
        self._store = open_store(setup.artifacts_url)

    async def execute(self, assignment: Assignment) -> Done | Failed:
        structlog.contextvars.bind_contextvars(
            job_id=assignment.job_id, run=assignment.run, attempt=assignment.attempt
        )
        try:
            return await self._generate(assignment)
        except ReportError as error:
            return Failed(code=error.code, message=error.message, transient=error.transient)
        except Exception:  # noqa: BLE001 - a defect ends this job, not the child
            _log.exception("attempt failed unexpectedly")
            return Failed(
                code=INTERNAL_ERROR.code,
                message=INTERNAL_ERROR.message,
                transient=INTERNAL_ERROR.transient,
            )
        finally:
            structlog.contextvars.clear_contextvars()

    async def _generate(self, assignment: Assignment) -> Done:
        report_type = self._catalogue.get(assignment.request.report_type)
        if report_type is None:
            raise LookupError(f"no report type {assignment.request.report_type} in this child")
        spec = ReportSpec(report_type, assignment.request, assignment.started_at)
        report = await generate(
            spec,
            sources=self._sources,
            store=self._store,
            path=f"{assignment.folder}/{spec.file_name}",
        )
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


if __name__ == "__main__":
    main(int(sys.argv[1]))
