"""`POST /report-jobs/{jobId}/cancel`, `POST /report-jobs/{jobId}/retry`, `DELETE` of a job."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from gateway.domain import Job, lists_tag
from gateway.routes import examples, problems
from gateway.routes.contract import ReportJob
from gateway.routes.direct import DirectRoute
from gateway.routes.problems import ProblemType
from gateway.routes.revision import entity_tag
from gateway.routes.services import Admin, Submitter, services_of
from shared.telemetry.trace import accepted_traceparent

router = APIRouter(tags=["Reports"], route_class=DirectRoute)

_LOCATION: Final[dict[str, Any]] = {
    "description": "Path of the job.",
    "schema": {
        "type": "string",
        "format": "uri-reference",
        "example": "/report-jobs/job_12345",
    },
}
_IF_MATCH: Final[dict[str, Any]] = {
    "in": "header",
    "name": "If-Match",
    "required": False,
    "description": "Entity tags of the states in which the job may be deleted: 412 in any other.",
    "schema": {"type": "string"},
    "example": '"3-17-5f0c9a"',
}


def _accepted(description: str, example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        202: {
            "model": ReportJob,
            "description": description,
            "headers": {"Location": _LOCATION, "Retry-After": problems.RETRY_AFTER_HEADER},
            "content": {"application/json": {"examples": {"default": {"value": example}}}},
        }
    }


def _refusals(*own: ProblemType) -> dict[int | str, dict[str, Any]]:
    return problems.documented(
        ProblemType.JOB_NOT_FOUND,
        *own,
        ProblemType.JOB_EXPIRED,
        ProblemType.JOB_DELETED,
        ProblemType.INTERNAL_ERROR,
        ProblemType.UNAVAILABLE,
    )


@router.post(
    "/report-jobs/{jobId}/cancel",
    status_code=202,
    summary="Cancel a report job",
    operation_id="cancelReportJob",
    responses={
        **_accepted("The job was asked to stop", examples.CANCELLING),
        **_refusals(ProblemType.JOB_ENDED),
    },
)
async def cancel_report_job(
    request: Request,
    tenant: Submitter,
    job_id: Annotated[str, Path(alias="jobId", examples=["job_12345"])],
) -> Response:
    """Ask a job to stop, whether it waits or runs.

    It ends soon after as FAILED with the errorCode CANCELLED, or COMPLETED where its end was
    faster. To ask again changes nothing, so there is no need for an `Idempotency-Key`; a later
    retry isn't concerned.
    """
    services = services_of(request)
    job = await services.actions.cancel(job_id, tenant, _traceparent(request))
    return _answer(request, job)


@router.post(
    "/report-jobs/{jobId}/retry",
    status_code=202,
    summary="Run a failed report job again",
    operation_id="retryReportJob",
    responses={
        **_accepted("The job's next run has begun", examples.RETRIED),
        **_refusals(ProblemType.JOB_NOT_RETRYABLE, ProblemType.TOO_MANY_ACTIVE_JOBS),
    },
)
async def retry_report_job(
    request: Request,
    tenant: Submitter,
    job_id: Annotated[str, Path(alias="jobId", examples=["job_12345"])],
) -> Response:
    """Run a FAILED job again, with the same id and what was asked for the first time.

    `run` counts up and `runs` keeps what was before. Retries at the same time begin one run, so
    there is no need for an `Idempotency-Key`; while the run goes on another retry is refused.
    """
    services = services_of(request)
    job = await services.actions.retry(job_id, tenant, _traceparent(request))
    return _answer(request, job)


@router.delete(
    "/report-jobs/{jobId}",
    status_code=204,
    summary="Delete a report job and its report",
    operation_id="deleteReportJob",
    response_class=Response,
    openapi_extra={"parameters": [_IF_MATCH]},
    responses={
        204: {"description": "The job and its report are gone: 410 from now on"},
        202: {"description": "The deletion is stored durably, and the job will be gone soon"},
        **_refusals(ProblemType.JOB_NOT_ENDED, ProblemType.PRECONDITION_FAILED),
    },
)
async def delete_report_job(
    request: Request,
    tenant: Admin,
    job_id: Annotated[str, Path(alias="jobId", examples=["job_12345"])],
) -> Response:
    """Remove a job that has ended, with its report and its history."""
    services = services_of(request)
    meant = request.headers.getlist("if-match")  # one that is there and names nothing fits nothing

    def is_meant(job: Job) -> bool:
        tag = entity_tag(job, services.revision)
        return not meant or lists_tag(", ".join(meant), tag, weak=False)

    is_gone = await services.actions.delete(job_id, tenant, _traceparent(request), is_meant)
    return Response(status_code=204 if is_gone else 202, headers={"cache-control": "no-store"})


def _traceparent(request: Request) -> str:
    return accepted_traceparent(request.headers.get("traceparent"))


def _answer(request: Request, job: Job) -> Response:
    services = services_of(request)
    view = services.jobs.view(job)
    return Response(
        content=ReportJob.of(view).json_bytes(),
        status_code=202,
        headers={
            "location": f"{services.path_prefix}/report-jobs/{job.job_id}",
            "retry-after": str(view.retry_after),
            "cache-control": "no-store",
        },
        media_type="application/json",
    )
