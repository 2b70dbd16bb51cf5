"""`GET /report-jobs/{jobId}/events`: a job's states as Server-Sent Events."""

import asyncio
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as ConnectionScope

from gateway.domain import JobView, Scope, Vector, WatchEndedError
from gateway.routes import failures, problems
from gateway.routes.contract import ReportJob
from gateway.routes.direct import DirectRoute
from gateway.routes.problems import ProblemType
from gateway.routes.sending import Sender, disconnection, drop
from gateway.routes.services import Reader, is_still_let_in, services_of
from gateway.service.following import Followed, Gone, Quiet
from shared.backoff import Backoff

router = APIRouter(tags=["Reports"], route_class=DirectRoute)

_COME_BACK: Final = Backoff(first=3.0)
"""Spreads those who come back after a gateway was replaced over some seconds."""
_HEADERS: Final = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would collect events before it passes them on
}
_EXAMPLE: Final = """retry: 2000

id: 41-97
event: job
data: {"jobId":"job_12345","status":"RUNNING"}

: still there

id: 41-99
event: job
data: {"jobId":"job_12345","status":"COMPLETED"}

"""
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The states, as they come",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "examples": {"completed": {"summary": "In short", "value": _EXAMPLE}},
            }
        },
    },
    204: {"description": "The job has ended and the client saw it; an EventSource stops here"},
    **problems.documented(
        ProblemType.JOB_NOT_FOUND,
        ProblemType.JOB_EXPIRED,
        ProblemType.JOB_DELETED,
        ProblemType.INTERNAL_ERROR,
        ProblemType.UNAVAILABLE,
    ),
}
_EXTRA: Final = {
    "parameters": [
        {
            "in": "header",
            "name": "Last-Event-ID",
            "description": "The id of the last event that came; an EventSource sends it itself.",
            "schema": {"type": "string"},
            "example": "41-97",
        }
    ]
}


@router.get(
    "/report-jobs/{jobId}/events",
    summary="Follow a report job",
    operation_id="followReportJob",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_EXTRA,
)
async def follow_report_job(
    request: Request,
    tenant: Reader,
    job_id: Annotated[str, Path(alias="jobId", examples=["job_12345"])],
) -> Response:
    """Send a job's states as Server-Sent Events, until it has ended.

    An event `job` has the job as GET shows it, in short: without `runs`. The first is the
    present state, unless `Last-Event-ID` says that it is known; a client that is slower than the
    job gets the newest. After the state COMPLETED or FAILED the stream ends; what becomes
    of the webhook after that, and a later retry, is seen by coming back. An event `gone` has a
    problem as its data: the job was deleted or has expired. Streams end after an hour at the
    latest, and when a server is replaced: come back with `Last-Event-ID`. A stream whose
    credential is worth nothing any more ends too, and whoever comes back is told so.
    """
    seen = Vector.parse(request.headers.get("last-event-id", ""))
    return EventStream(request, job_id, tenant, seen)


class EventStream(Response):
    """Follows a job over one connection for as long as the client reads."""

    def __init__(self, request: Request, job_id: str, tenant: str, seen: Vector | None) -> None:
        self._request = request
        self._services = services_of(request)
        self._job_id = job_id
        self._tenant = tenant
        self._seen = seen
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)

    async def __call__(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        """Send the events; what forbids it is raised before anything was sent."""
        following = self._services.following
        async with following.follow(self._job_id, self._tenant, seen=self._seen) as followed:
            if followed.has_ended:
                await Response(status_code=204, headers={"cache-control": "no-store"})(
                    scope, receive, send
                )
                return
            gone = asyncio.create_task(disconnection(receive))
            gone.add_done_callback(lambda _: followed.watch.end(WatchEndedError()))
            try:
                sender = Sender(send, self._services.client_timeout)
                await self._send(followed, sender, scope["path"])
            except TimeoutError:
                await drop(scope, gone, "the client stopped reading", job_id=self._job_id)
            finally:
                gone.cancel()

    async def _send(self, followed: Followed, sender: Sender, path: str) -> None:
        await sender.start(self)
        await sender.part(f"retry: {int(_COME_BACK.delay(1) * 1000)}\n\n".encode())
        async with aclosing(followed.states()) as states:
            async for state in states:
                if not await is_still_let_in(self._request, self._tenant, Scope.READ):
                    break
                await sender.part(_event(state, path))
        await sender.end()


def _event(state: JobView | Quiet | Gone, path: str) -> bytes:
    match state:
        case JobView():
            head = f"id: {state.job.vector}\nevent: job\ndata: ".encode()
            return head + ReportJob.of(state).json_bytes() + b"\n\n"
        case Quiet():
            return b": still there\n\n"
        case Gone(error):
            return b"event: gone\ndata: " + failures.as_problem(error, path) + b"\n\n"
