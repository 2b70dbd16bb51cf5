"""Maps what the services raise, and what the framework raises, to problems."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match, Route

from gateway.domain import (
    AccessUnavailableError,
    ArtifactMissingError,
    ArtifactStoreUnavailableError,
    IdempotencyKeyReusedError,
    JobDeletedError,
    JobEndedError,
    JobExpiredError,
    JobNotEndedError,
    JobNotFoundError,
    JobNotRetryableError,
    KeysUnavailableError,
    LinkExpiredError,
    LinkForgedError,
    NotAuthenticatedError,
    NotPermittedError,
    OverloadedError,
    PageTokenError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ReadModelUnavailableError,
    ReportNotReadyError,
    RequestRefusedError,
    TooManyActiveJobsError,
    TooManyRequestsError,
    TooManyWatchersError,
)
from gateway.routes.problems import ProblemError, ProblemType, other_response, problem_response
from gateway.routes.violations import from_validation
from shared.bus import BusUnavailableError
from shared.report_request import Violation

_RETRY: Final = {"retry-after": "2"}
_A_JOB_MAY_HAVE_ENDED: Final = "5"
_CHALLENGE: Final = 'Bearer realm="report-jobs"'
_CLIENT_LEFT: Final = 499  # nobody reads it; proxies write it in their logs

_FIXED: Final[dict[type[Exception], ProblemError]] = {
    JobNotFoundError: ProblemError(
        ProblemType.JOB_NOT_FOUND, "No job with this id was ever accepted."
    ),
    JobExpiredError: ProblemError(
        ProblemType.JOB_EXPIRED, "The job is past its retention time; submit the request again."
    ),
    JobDeletedError: ProblemError(
        ProblemType.JOB_DELETED, "The job and its report were deleted at a client's request."
    ),
    LinkForgedError: ProblemError(
        ProblemType.LINK_INVALID,
        "The link's exp and sig don't belong to this job. Take downloadUrl as it is.",
    ),
    LinkExpiredError: ProblemError(
        ProblemType.LINK_EXPIRED, "The link was valid until the job expired."
    ),
    ArtifactMissingError: ProblemError(
        ProblemType.ARTIFACT_MISSING,
        "The job is completed, but its file is gone from the store; submit the request again.",
    ),
    IdempotencyKeyReusedError: ProblemError(
        ProblemType.IDEMPOTENCY_KEY_REUSED,
        "A request with this key asked for something else. Send that one again as it was, or this"
        " one with a new key.",
    ),
    PreconditionFailedError: ProblemError(
        ProblemType.PRECONDITION_FAILED, "If-Match or If-Unmodified-Since names another state."
    ),
    AccessUnavailableError: ProblemError(
        ProblemType.UNAVAILABLE,
        "Your credential can't be checked at the moment. Try again.",
        headers=_RETRY,
    ),
    BusUnavailableError: ProblemError(
        ProblemType.UNAVAILABLE,
        "The request could not be confirmed in time; it may have been taken or not. Try again:"
        " a submission is safe to repeat with an Idempotency-Key, all else as it is.",
        headers=_RETRY,
    ),
    KeysUnavailableError: ProblemError(
        ProblemType.UNAVAILABLE,
        "Idempotency keys can't be kept at the moment, so nothing was submitted. Try again with"
        " the same key.",
        headers=_RETRY,
    ),
    OverloadedError: ProblemError(
        ProblemType.UNAVAILABLE,
        "More is under way than the service can take. What you asked for was not begun; send the"
        " same request again.",
        headers={"retry-after": "1"},
    ),
    ReadModelUnavailableError: ProblemError(
        ProblemType.UNAVAILABLE, "The jobs can't be read at the moment. Try again.", headers=_RETRY
    ),
    ArtifactStoreUnavailableError: ProblemError(
        ProblemType.UNAVAILABLE, "The file can't be read at the moment. Try again.", headers=_RETRY
    ),
    TooManyWatchersError: ProblemError(
        ProblemType.UNAVAILABLE,
        "Too many clients follow jobs at the moment. Try again, or poll.",
        headers=_RETRY,
    ),
}

_OF_STATE: Final[dict[type[Exception], ProblemType]] = {
    JobEndedError: ProblemType.JOB_ENDED,
    JobNotEndedError: ProblemType.JOB_NOT_ENDED,
    JobNotRetryableError: ProblemType.JOB_NOT_RETRYABLE,
}
"""Errors whose message is the detail: the state of a job rules out what was asked."""


def handlers() -> dict[type[Exception], Any]:
    """Return what makes each failure a problem."""
    return {
        ProblemError: _on_problem,
        NotAuthenticatedError: _on_not_authenticated,
        NotPermittedError: _on_not_permitted,
        RequestRefusedError: _on_refused,
        TooManyRequestsError: _on_too_many_requests,
        TooManyActiveJobsError: _on_too_many_jobs,
        RequestValidationError: _on_bad_parameters,
        PageTokenError: _on_page_token,
        ReportNotReadyError: _on_not_ready,
        RangeNotSatisfiableError: _on_range,
        HTTPException: _on_http_exception,
        ClientDisconnect: _on_disconnect,
        Exception: _on_defect,
        **dict.fromkeys(_FIXED, _on_fixed),
        **dict.fromkeys(_OF_STATE, _on_state),
    }


def as_problem(error: Exception, path: str) -> bytes:
    """Return the problem that a failure is, for an answer that has begun already."""
    return bytes(problem_response(_FIXED[type(error)], path).body)


async def _on_fixed(request: Request, error: Exception) -> Response:
    return problem_response(_FIXED[type(error)], request.url.path)


async def _on_state(request: Request, error: Exception) -> Response:
    problem = ProblemError(_OF_STATE[type(error)], str(error))
    return problem_response(problem, request.url.path)


async def _on_problem(request: Request, error: ProblemError) -> Response:
    return problem_response(error, request.url.path)


async def _on_not_authenticated(request: Request, error: NotAuthenticatedError) -> Response:
    """Challenge the client (RFC 6750): where it sent no credential, without an error code."""
    challenge = _CHALLENGE
    if "authorization" in request.headers:
        challenge += ', error="invalid_token"'
    problem = ProblemError(
        ProblemType.NOT_AUTHENTICATED, str(error), headers={"www-authenticate": challenge}
    )
    return problem_response(problem, request.url.path)


async def _on_not_permitted(request: Request, error: NotPermittedError) -> Response:
    challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{error.scope}"'
    problem = ProblemError(
        ProblemType.NOT_PERMITTED,
        f"This needs the scope {error.scope}, which your credential doesn't have.",
        headers={"www-authenticate": challenge},
    )
    return problem_response(problem, request.url.path)


async def _on_too_many_requests(request: Request, error: TooManyRequestsError) -> Response:
    problem = ProblemError(
        ProblemType.RATE_LIMITED,
        f"Your tenant sends requests faster than it may; {error}.",
        headers={"retry-after": str(error.retry_after), **error.fields},
    )
    return problem_response(problem, request.url.path)


async def _on_too_many_jobs(request: Request, error: TooManyActiveJobsError) -> Response:
    problem = ProblemError(
        ProblemType.TOO_MANY_ACTIVE_JOBS,
        f"Your tenant has {error.limit} jobs that haven't ended, which is as many as it may have.",
        headers={"retry-after": _A_JOB_MAY_HAVE_ENDED},
    )
    return problem_response(problem, request.url.path)


async def _on_refused(request: Request, error: RequestRefusedError) -> Response:
    return _invalid(request, error.violations)


async def _on_bad_parameters(request: Request, error: RequestValidationError) -> Response:
    return _invalid(request, from_validation(error.errors(), skip=1))


async def _on_page_token(request: Request, error: PageTokenError) -> Response:
    violation = Violation(field="/pageToken", code="PAGE_TOKEN_INVALID", message=str(error))
    return _invalid(request, [violation])


async def _on_not_ready(request: Request, error: ReportNotReadyError) -> Response:
    detail = f"The job is {error.status}; only a COMPLETED job has a report."
    return problem_response(ProblemError(ProblemType.REPORT_NOT_READY, detail), request.url.path)


async def _on_range(request: Request, error: RangeNotSatisfiableError) -> Response:
    problem = ProblemError(
        ProblemType.RANGE_NOT_SATISFIABLE,
        f"The file has {error.byte_count} bytes.",
        headers={"content-range": f"bytes */{error.byte_count}"},
    )
    return problem_response(problem, request.url.path)


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    path, headers = request.url.path, error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": ", ".join(_offered(request))}
    known = {
        404: (ProblemType.NOT_FOUND, "No resource has this path."),
        405: (ProblemType.METHOD_NOT_ALLOWED, f"{request.method} is not offered here."),
    }.get(error.status_code)
    if known is None:
        return other_response(error.status_code, path, headers)
    return problem_response(ProblemError(*known, headers=headers), path)


def _offered(request: Request) -> list[str]:
    """Return all methods of an address; the framework names those of one route alone."""
    routes = [route for route in request.app.router.routes if isinstance(route, Route)]
    return sorted(
        {
            method
            for route in routes
            if route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods or ()
        }
    )


async def _on_disconnect(_request: Request, _error: ClientDisconnect) -> Response:
    return Response(status_code=_CLIENT_LEFT)


async def _on_defect(request: Request, _error: Exception) -> Response:
    """Answer without a word of what it was; the server logs the exception itself."""
    detail = "The request met a defect. It was logged; trying again may help."
    return problem_response(ProblemError(ProblemType.INTERNAL_ERROR, detail), request.url.path)


def _invalid(request: Request, violations: "list[Violation] | tuple[Violation, ...]") -> Response:
    count = len(violations)
    detail = f"{count} field{' is' if count == 1 else 's are'} not acceptable; see errors."
    error = ProblemError(ProblemType.INVALID_REQUEST, detail, violations=violations)
    return problem_response(error, request.url.path)
