"""Every answer of 400 and above as `application/problem+json` (RFC 9457), with stable types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from shared.report_request import Violation

MEDIA_TYPE: Final = "application/problem+json"
_TYPE_PREFIX: Final = "urn:report-jobs:problem:"


class ProblemType(Enum):
    """The kinds of problem: slug of the type URI, status, title."""

    MALFORMED_JSON = ("malformed-json", 400, "The body is not acceptable JSON")
    NOT_AUTHENTICATED = ("not-authenticated", 401, "Say who you are")
    NOT_PERMITTED = ("not-permitted", 403, "Your credential doesn't permit this")
    IDEMPOTENCY_KEY_INVALID = (
        "idempotency-key-invalid",
        400,
        "The Idempotency-Key is not acceptable",
    )
    LINK_INVALID = ("link-invalid", 403, "The download link is not valid")
    NOT_FOUND = ("not-found", 404, "There is nothing at this address")
    JOB_NOT_FOUND = ("job-not-found", 404, "There is no such job")
    ARTIFACT_MISSING = ("artifact-missing", 404, "The report's file is not in the store")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "This address doesn't take this method")
    BODY_TIMEOUT = ("body-timeout", 408, "The body didn't arrive in time")
    REPORT_NOT_READY = ("report-not-ready", 409, "The job has no report to download")
    JOB_ENDED = ("job-ended", 409, "The job has ended already")
    JOB_NOT_ENDED = ("job-not-ended", 409, "The job hasn't ended yet")
    JOB_NOT_RETRYABLE = ("job-not-retryable", 409, "The job can't be run again")
    JOB_EXPIRED = ("job-expired", 410, "The job has expired")
    JOB_DELETED = ("job-deleted", 410, "The job was deleted")
    LINK_EXPIRED = ("link-expired", 410, "The download link has expired")
    PRECONDITION_FAILED = ("precondition-failed", 412, "What is there isn't what is meant")
    BODY_TOO_LARGE = ("body-too-large", 413, "The body is too large")
    UNSUPPORTED_MEDIA_TYPE = ("unsupported-media-type", 415, "The body must be JSON")
    RANGE_NOT_SATISFIABLE = ("range-not-satisfiable", 416, "The file has no such bytes")
    INVALID_REQUEST = ("invalid-request", 422, "The request is not valid")
    IDEMPOTENCY_KEY_REUSED = (
        "idempotency-key-reused",
        422,
        "The Idempotency-Key belongs to another request",
    )
    RATE_LIMITED = ("rate-limited", 429, "Too many requests")
    TOO_MANY_ACTIVE_JOBS = ("too-many-active-jobs", 429, "Too many jobs are under way")
    INTERNAL_ERROR = ("internal-error", 500, "Something went wrong on our side")
    UNAVAILABLE = ("temporarily-unavailable", 503, "The service can't do this at the moment")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.uri = _TYPE_PREFIX + slug
        self.slug = slug
        self.status = status
        self.title = title


@dataclass(frozen=True, slots=True)
class _Details:
    """What one occurrence adds to its type."""

    detail: str
    violations: Sequence[Violation] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        problem_type: ProblemType,
        detail: str,
        *,
        violations: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{problem_type.slug}: {detail}")
        self.problem_type = problem_type
        self.details = _Details(detail, violations, headers or {})


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(
        description="Stable name of the kind of problem.", examples=[ProblemType.NOT_FOUND.uri]
    )
    title: str = Field(description="The kind of problem, for people.")
    status: int = Field(description="The HTTP status, repeated.", examples=[404])
    detail: str = Field(description="This occurrence of it, for people.")
    instance: str = Field(description="Path of the request.", examples=["/report-jobs/job_12345"])
    errors: Sequence[Violation] | None = Field(
        default=None,
        description="What is wrong field by field; only with the type invalid-request.",
    )


def problem_response(error: ProblemError, path: str) -> Response:
    """Answer a request for `path` with a problem."""
    kind, details = error.problem_type, error.details
    problem = Problem(
        type=kind.uri,
        title=kind.title,
        status=kind.status,
        detail=details.detail,
        instance=path,
        errors=details.violations or None,
    )
    return _response(problem, details.headers)


def other_response(status: int, path: str, headers: Mapping[str, str] | None) -> Response:
    """Answer with a status that has no type of its own, which is what `about:blank` means."""
    phrase = HTTPStatus(status).phrase
    problem = Problem(type="about:blank", title=phrase, status=status, detail=phrase, instance=path)
    return _response(problem, headers or {})


def documented(*types: ProblemType) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for problems that a route answers with."""
    responses: dict[int | str, dict[str, Any]] = {}
    for problem_type in types:
        response = responses.setdefault(problem_type.status, _documented_response(problem_type))
        response["content"][MEDIA_TYPE]["examples"][problem_type.slug] = {
            "value": {
                "type": problem_type.uri,
                "title": problem_type.title,
                "status": problem_type.status,
                "detail": problem_type.title + ".",
                "instance": "/report-jobs/job_12345",
                **_EXAMPLE_MEMBERS.get(problem_type, {}),
            }
        }
    return responses


def _documented_response(problem_type: ProblemType) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": HTTPStatus(problem_type.status).phrase,
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
        },
    }
    if headers := _HEADERS.get(problem_type):
        response["headers"] = headers
    return response


RETRY_AFTER_HEADER: Final = {
    "description": "Seconds to wait before the next try.",
    "schema": {"type": "integer", "minimum": 1},
}

RATE_LIMIT_POLICY_HEADER: Final = {
    "description": "The limit that counts here: `q` requests at once, and again after `w` seconds"
    " (draft-ietf-httpapi-ratelimit-headers).",
    "schema": {"type": "string", "examples": ['"submit";q=5000;w=5']},
}
RATE_LIMIT_HEADER: Final = {
    "description": "What is left of it: `r` requests at once; all of them again in `t` seconds.",
    "schema": {"type": "string", "examples": ['"submit";r=4999;t=1']},
}
_CHALLENGE_HEADER: Final = {
    "description": "How to authenticate (RFC 6750).",
    "schema": {"type": "string"},
}
_HEADERS: Final[dict[ProblemType, dict[str, Any]]] = {
    ProblemType.NOT_AUTHENTICATED: {"WWW-Authenticate": _CHALLENGE_HEADER},
    ProblemType.NOT_PERMITTED: {"WWW-Authenticate": _CHALLENGE_HEADER},
    ProblemType.RATE_LIMITED: {
        "Retry-After": RETRY_AFTER_HEADER,
    },
    ProblemType.TOO_MANY_ACTIVE_JOBS: {"Retry-After": RETRY_AFTER_HEADER},
    ProblemType.UNAVAILABLE: {"Retry-After": RETRY_AFTER_HEADER},
}
_EXAMPLE_MEMBERS: Final[dict[ProblemType, dict[str, Any]]] = {
    ProblemType.INVALID_REQUEST: {
        "detail": "1 field is not acceptable; see errors.",
        "instance": "/generate-report",
        "errors": [
            {
                "field": "/dateRange/toDate",
                "code": "DATES_REVERSED",
                "message": "must not be before fromDate",
            }
        ],
    }
}


def _response(problem: Problem, headers: Mapping[str, str]) -> Response:
    return Response(
        # A path may hold characters that UTF-8 can't: JSON escapes them.
        content=problem.model_dump_json(exclude_none=True),
        status_code=problem.status,
        headers={"cache-control": "no-store", **headers},
        media_type=MEDIA_TYPE,
    )
