"""`GET /report-jobs/{jobId}` and `GET /report-jobs`."""

import re
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BeforeValidator, WithJsonSchema
from starlette.responses import Response

from gateway.domain import DEFAULT_PAGE_SIZE, Job, JobFilter, JobStatus, clamp_page_size, lists_tag
from gateway.routes import examples, problems
from gateway.routes.contract import ReportJobDetails, ReportJobList
from gateway.routes.direct import DirectRoute
from gateway.routes.parameters import each_parameter_once
from gateway.routes.preferences import (
    APPLIED_HEADER,
    PREFER_PARAMETER,
    preferred_wait,
    unless_client_leaves,
)
from gateway.routes.problems import ProblemType
from gateway.routes.resource import JsonAnswer
from gateway.routes.revision import entity_tag
from gateway.routes.services import Reader, services_of

router = APIRouter(tags=["Reports"], route_class=DirectRoute)

_ASK_AGAIN: Final = {"cache-control": "private, no-cache"}
"""A cache may keep a job, and has to ask each time whether it is still like that."""
_NO_STORE: Final = {"cache-control": "no-store"}
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def _moment(value: object) -> datetime:
    """Take an RFC 3339 timestamp; a `+` that a URL made a space is not guessed at."""
    text = str(value)
    if not _RFC_3339.fullmatch(text):
        raise ValueError(
            "must be an RFC 3339 timestamp such as 2024-01-31T12:00:00Z; a + is %2B in a URL"
        )
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("names a moment that doesn't exist") from None


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

_IF_NONE_MATCH: Final[dict[str, Any]] = {
    "in": "header",
    "name": "If-None-Match",
    "required": False,
    "description": "Entity tags of what is known already: 304 where the job is still like that.",
    "schema": {"type": "string"},
    "example": '"3-17-5f0c9a"',
}
_ETAG_HEADER: Final[dict[str, Any]] = {
    "description": "Changes whenever anything in the body does.",
    "schema": {"type": "string", "example": '"3-17-5f0c9a"'},
}
_STATE_HEADERS: Final[dict[str, Any]] = {
    "Retry-After": {
        **problems.RETRY_AFTER_HEADER,
        "description": "Seconds to wait before the next poll, until the job has ended.",
    },
    "ETag": _ETAG_HEADER,
    "Preference-Applied": APPLIED_HEADER,
}
_JOB: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": ReportJobDetails,
        "description": "Report job status",
        "headers": _STATE_HEADERS,
        "content": {"application/json": {"examples": examples.JOBS}},
    },
    304: {
        "description": "The job is as the entity tag in If-None-Match has it",
        "headers": _STATE_HEADERS,
    },
}


_JOB_RESPONSES: Final = {
    **_JOB,
    **problems.documented(
        ProblemType.JOB_NOT_FOUND,
        ProblemType.JOB_EXPIRED,
        ProblemType.JOB_DELETED,
        ProblemType.INTERNAL_ERROR,
        ProblemType.UNAVAILABLE,
    ),
}


@router.head(
    "/report-jobs/{jobId}",
    summary="Get the headers of a report job's status",
    operation_id="headReportJob",
    openapi_extra={"parameters": [_IF_NONE_MATCH, PREFER_PARAMETER]},
    responses=_JOB_RESPONSES,
)
@router.get(
    "/report-jobs/{jobId}",
    summary="Get status of a report job",
    operation_id="getReportJob",
    openapi_extra={"parameters": [_IF_NONE_MATCH, PREFER_PARAMETER]},
    responses=_JOB_RESPONSES,
)
async def get_report_job(
    request: Request,
    tenant: Reader,
    job_id: Annotated[str, Path(alias="jobId", examples=["job_12345"])],
) -> Response:
    """Say where a job stands.

    The answer is 200 for every state of the job, FAILED included. Poll at the pace of
    `Retry-After`; there is none once the job has ended. `Prefer: wait=N` saves the polling: the
    answer comes when the state changes, or after N seconds. With `If-None-Match` every change of
    the job counts, its progress included; without it a change of `status` or `run`.
    """
    services = services_of(request)
    known = ", ".join(request.headers.getlist("if-none-match"))

    def is_known(job: Job) -> bool:
        return lists_tag(known, entity_tag(job, services.revision))

    seconds = preferred_wait(request, services.longest_wait)
    if seconds:
        change = services.following.wait(job_id, tenant, seconds, is_known if known else None)
        job = await unless_client_leaves(request, change)
    else:
        job = await services.jobs.find(job_id, tenant)
    tag = entity_tag(job, services.revision)
    headers = {**_ASK_AGAIN, "etag": f'"{tag}"'}
    retry_after = services.jobs.retry_after(job)
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    if seconds:
        headers["preference-applied"] = f"wait={seconds}"
    if known and lists_tag(known, tag):
        return Response(status_code=304, headers=headers)
    return JsonAnswer(services.representations.of(job), headers.items())


_PAGE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": ReportJobList,
        "description": "One page of jobs",
        "content": {"application/json": {"examples": examples.PAGE}},
    },
    **problems.documented(
        ProblemType.INVALID_REQUEST, ProblemType.INTERNAL_ERROR, ProblemType.UNAVAILABLE
    ),
}


@router.head(
    "/report-jobs",
    summary="Get the headers of a list of report jobs",
    operation_id="headReportJobs",
    dependencies=[Depends(each_parameter_once)],
    responses=_PAGE_RESPONSES,
)
@router.get(
    "/report-jobs",
    summary="List report jobs, newest first",
    operation_id="listReportJobs",
    dependencies=[Depends(each_parameter_once)],
    responses=_PAGE_RESPONSES,
)
async def list_report_jobs(
    request: Request,
    tenant: Reader,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this state.")] = None,
    report_type: Annotated[
        str | None,
        Query(
            alias="reportType",
            pattern=r"^[A-Z][A-Z0-9_]*$",
            max_length=100,
            description="Only jobs of this report type.",
        ),
    ] = None,
    created_after: Annotated[
        Moment | None,
        Query(alias="createdAfter", description="Only jobs created at this moment or later."),
    ] = None,
    created_before: Annotated[
        Moment | None,
        Query(alias="createdBefore", description="Only jobs created before this moment."),
    ] = None,
    page_size: Annotated[
        int,
        Query(alias="pageSize", description="Jobs per page; brought into the range 1 to 100."),
    ] = DEFAULT_PAGE_SIZE,
    page_token: Annotated[
        str | None,
        Query(
            alias="pageToken",
            max_length=200,
            description="The nextPageToken of the page before; keep the filters as they were.",
        ),
    ] = None,
) -> Response:
    """List the jobs that haven't expired.

    A job appears here a moment after its 202, once its first event was read.
    """
    chosen = JobFilter(status, report_type, created_after, created_before)
    page = await services_of(request).jobs.list_newest(
        tenant, chosen, clamp_page_size(page_size), page_token
    )
    return Response(
        ReportJobList.of(page).json_bytes(), headers=_NO_STORE, media_type="application/json"
    )
