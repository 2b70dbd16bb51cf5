"""The JSON that goes out: jobs, listings and the catalogue, as the OpenAPI document shows them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

from pydantic import Field, StrictBool
from pydantic_core import to_json

from gateway.domain import JobPage, JobStatus, JobView, runs_of
from gateway.routes.job_parts import JobProgress, JobRun, JobWebhook
from gateway.routes.resource import Resource, Timestamp
from shared.catalogue import Catalogue
from shared.clock import rfc3339
from shared.events import ReportRequested
from shared.report_request import ReportFormat, ReportRequest


class GenerateReportRequest(ReportRequest):
    """A report that is asked for. Fields that aren't known are ignored."""

    validate_only: StrictBool = Field(
        default=False,
        exclude=True,
        description="Only say whether the request would be accepted: 200, and there is no job.",
    )


class ReportValidation(Resource):
    """The answer to `validateOnly`: the request would be accepted."""

    valid: Literal[True] = True
    request: ReportRequest = Field(description="As it was understood, defaults filled in.")


class ReportJob(Resource):
    """A report job and, once it is completed, the way to its report."""

    job_id: str = Field(examples=["job_12345"])
    status: JobStatus = Field(examples=["PENDING"])
    report_type: str | None = Field(
        default=None,
        description="Null for the moment between a job's acceptance and its first event.",
        examples=["ORDERS_SUMMARY"],
    )
    format: str | None = Field(default=None, examples=["CSV"])
    created_at: Timestamp
    started_at: Timestamp | None = Field(
        default=None, description="Start of the attempt that runs, or that ended the run."
    )
    updated_at: Timestamp
    finished_at: Timestamp | None = None
    expires_at: Timestamp = Field(description="From then on the job and its report are gone: 410.")
    download_url: str | None = Field(
        default=None,
        description="Signed link to the report, valid until expiresAt; null until COMPLETED.",
        examples=["https://files.example.com/reports/job_12345.csv"],
    )
    row_count: int | None = Field(default=None, description="Rows in the report; may be 0.")
    byte_count: int | None = Field(default=None, description="Size of the report's file.")
    error_code: str | None = Field(
        default=None,
        description="Matches [A-Z][A-Z0-9_]+; null unless FAILED.",
        examples=["REPORT_GENERATION_FAILED"],
    )
    error_message: str | None = Field(
        default=None, description="For people.", examples=["Downstream data source unavailable."]
    )
    retryable: bool | None = Field(
        default=None, description="Whether the same request may well succeed later."
    )
    run: int = Field(default=1, description="1, and one more for each retry of the job.")
    progress: JobProgress | None = Field(
        default=None, description="How far the running attempt has come; null unless RUNNING."
    )
    cancel_requested: bool = Field(
        default=False,
        description="Whether the run was asked to stop and hasn't ended yet.",
    )
    webhook: JobWebhook | None = Field(
        default=None, description="Null until a run with a callback URL has ended."
    )

    @classmethod
    def of(cls, view: JobView) -> Self:
        """Show a job."""
        return cls(**_fields_of(view))


class ReportJobDetails(ReportJob):
    """A report job with its history."""

    runs: tuple[JobRun, ...] = Field(
        description="In order. What happened once stays: a retry adds a run and changes no other."
    )

    @classmethod
    def of(cls, view: JobView) -> Self:
        """Show a job with all that is known to have happened to it."""
        return cls(**_fields_of(view), runs=tuple(map(JobRun.of, runs_of(view.job))))


_ACCEPTED: Final = ReportJob(
    job_id="",
    status=JobStatus.PENDING,
    created_at=datetime.min.replace(tzinfo=UTC),
    updated_at=datetime.min.replace(tzinfo=UTC),
    expires_at=datetime.min.replace(tzinfo=UTC),
).model_dump(mode="json", by_alias=True)


def accepted_json(requested: ReportRequested, expires_at: datetime) -> bytes:
    """Return the `ReportJob` of a job to which nothing has happened yet, as it is sent.

    Each accepted request is answered with it, so that it is put together from its few variable
    fields, in a quarter of the time.
    """
    created_at = rfc3339(requested.created_at)
    return to_json(
        {
            **_ACCEPTED,
            "jobId": requested.job_id,
            "reportType": requested.report_type,
            "format": requested.format,
            "createdAt": created_at,
            "updatedAt": created_at,
            "expiresAt": rfc3339(expires_at),
        }
    )


def _fields_of(view: JobView) -> dict[str, Any]:
    job = view.job
    return {
        "job_id": job.job_id,
        "status": job.status,
        "report_type": job.report_type,
        "format": job.format,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "updated_at": job.updated_at,
        "finished_at": job.finished_at,
        "expires_at": view.expires_at,
        "download_url": view.download_url,
        "row_count": job.row_count,
        "byte_count": job.artifact.byte_count if job.artifact else None,
        "error_code": job.error_code,
        "error_message": job.error_message,
        "retryable": job.retryable,
        "run": job.run,
        "progress": JobProgress.of(job.progress) if job.progress else None,
        "cancel_requested": job.cancel_requested,
        "webhook": JobWebhook.of(job.webhook) if job.webhook else None,
    }


class ReportJobList(Resource):
    """One page of jobs, newest first."""

    report_jobs: tuple[ReportJob, ...]
    next_page_token: str | None = Field(
        default=None, description="Give it as pageToken for the next page; null on the last."
    )

    @classmethod
    def of(cls, page: JobPage) -> Self:
        """Show a page."""
        return cls(
            report_jobs=tuple(ReportJob.of(view) for view in page.views),
            next_page_token=page.next_page_token,
        )


class ReportJobEnded(Resource):
    """What the callback URL is sent when a job has ended: the job in short, as GET shows it."""

    type: Literal["report-job.completed", "report-job.failed"]
    job_id: str
    status: Literal["COMPLETED", "FAILED"]
    download_url: str | None
    error_code: str | None
    error_message: str | None
    report_type: str
    format: str
    run: int = Field(description="1, and one more for each retry of the job.")
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp
    expires_at: Timestamp


class ReportTypeSummary(Resource):
    """A kind of report that can be asked for."""

    name: str = Field(description="The reportType of a request.", examples=["ORDERS_SUMMARY"])
    title: str = Field(examples=["Orders summary"])
    description: str
    formats: Sequence[ReportFormat]
    max_span_days: int = Field(description="Days that a date range may cover.", examples=[366])
    parameters: dict[str, Any] = Field(
        description="JSON Schema (2020-12) of a request's `parameters`."
    )


class ReportTypeList(Resource):
    """The catalogue, in the order of its names."""

    report_types: Sequence[ReportTypeSummary]

    @classmethod
    def of(cls, catalogue: Catalogue) -> Self:
        """Show a catalogue."""
        return cls(
            report_types=tuple(
                ReportTypeSummary(
                    name=report_type.name,
                    title=report_type.title,
                    description=report_type.description,
                    formats=report_type.formats,
                    max_span_days=report_type.limits.max_span_days,
                    parameters=report_type.declared_parameters.schema,
                )
                for report_type in catalogue
            )
        )
