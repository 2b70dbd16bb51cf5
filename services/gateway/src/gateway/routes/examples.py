"""The examples of the OpenAPI document: those of the published contract, in full."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.domain import JobStatus
from gateway.routes.contract import (
    ReportJob,
    ReportJobDetails,
    ReportJobEnded,
    ReportJobList,
    ReportTypeList,
    ReportTypeSummary,
)
from gateway.routes.job_parts import JobAttempt, JobProgress, JobRun
from shared.clock import rfc3339
from shared.report_request import ReportFormat

REQUESTS: Final[dict[str, Any]] = {
    "default": {
        "value": {
            "reportType": "ORDERS_SUMMARY",
            "dateRange": {"fromDate": "2024-01-01", "toDate": "2024-01-31"},
            "format": "CSV",
            "callbackUrl": "https://client.example.com/hooks/report-completed",
        }
    },
    "validateOnly": {
        "summary": "Ask whether a request would be accepted; there is no job",
        "value": {
            "reportType": "ORDERS_SUMMARY",
            "dateRange": {"fromDate": "2024-01-01", "toDate": "2024-01-31"},
            "format": "PDF",
            "validateOnly": True,
        },
    },
    "withoutFormat": {
        "summary": "The format is CSV unless another is asked for",
        "value": {
            "reportType": "ORDERS_SUMMARY",
            "dateRange": {"fromDate": "2024-01-01", "toDate": "2024-01-31"},
            "callbackUrl": "https://client.example.com/hooks/report-completed",
        },
    },
}

VALID: Final[dict[str, Any]] = {
    "valid": True,
    "request": {**REQUESTS["default"]["value"], "parameters": {}},
}

_CREATED: Final = datetime(2024, 2, 1, 9, 30, tzinfo=UTC)
_FINISHED: Final = _CREATED + timedelta(seconds=4)
_PENDING: Final = ReportJob(
    job_id="job_12345",
    status=JobStatus.PENDING,
    report_type="ORDERS_SUMMARY",
    format="CSV",
    created_at=_CREATED,
    updated_at=_CREATED,
    expires_at=_CREATED + timedelta(days=7),
)
_STARTED: Final[dict[str, Any]] = {"started_at": _CREATED + timedelta(seconds=1)}
_ENDED: Final[dict[str, Any]] = {**_STARTED, "finished_at": _FINISHED, "updated_at": _FINISHED}
_LINK: Final = "https://files.example.com/reports/job_12345.csv"
_FAILURE: Final[dict[str, Any]] = {
    "error_code": "REPORT_GENERATION_FAILED",
    "error_message": "Downstream data source unavailable.",
}


def _example(**changes: Any) -> ReportJob:
    return _PENDING.model_copy(update=changes)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _with_run(job: ReportJob) -> dict[str, Any]:
    """Add the history of a job whose only attempt is as far as the job itself."""
    told: dict[str, Any] = {
        "started_at": _written(job.started_at),
        "error_code": job.error_code,
        "error_message": job.error_message,
    }
    attempt = JobAttempt(
        attempt=1,
        outcome=str(job.status) if job.status.is_terminal else None,
        ended_at=_written(job.finished_at),
        retry_at=None,
        **told,
    )
    run = JobRun(
        run=1,
        status=job.status,
        requested_at=_written(job.created_at),
        cancel_requested_at=None,
        finished_at=_written(job.finished_at),
        attempts=(attempt,),
        webhook=None,
        **told,
    )
    details = ReportJobDetails(**dict(job), runs=(run,))
    return {"value": details.model_dump(mode="json", by_alias=True)}


ACCEPTED: Final = _example().model_dump(mode="json", by_alias=True)
CANCELLING: Final = _example(
    status=JobStatus.RUNNING, cancel_requested=True, **_STARTED
).model_dump(mode="json", by_alias=True)
RETRIED: Final = _example(run=2, updated_at=_FINISHED).model_dump(mode="json", by_alias=True)
JOBS: Final[dict[str, Any]] = {
    "pending": _with_run(
        _example(
            status=JobStatus.RUNNING,
            progress=JobProgress(phase="query", percent=40, rows_processed=25, rows_total=62),
            **_STARTED,
        )
    ),
    "completed": _with_run(
        _example(
            status=JobStatus.COMPLETED,
            download_url=_LINK,
            row_count=62,
            byte_count=2381,
            **_ENDED,
        )
    ),
    "failed": _with_run(_example(status=JobStatus.FAILED, retryable=True, **_FAILURE, **_ENDED)),
}
PAGE: Final[dict[str, Any]] = {
    "default": {
        "value": ReportJobList(
            report_jobs=(
                _example(),
                _example(status=JobStatus.FAILED, retryable=True, **_FAILURE, **_ENDED),
            ),
            next_page_token="MDY2bTg",  # noqa: S106 - it leads to a page
        ).model_dump(mode="json", by_alias=True)
    }
}
REPORT_TYPES: Final[dict[str, Any]] = {
    "default": {
        "value": ReportTypeList(
            report_types=(
                ReportTypeSummary(
                    name="ORDERS_SUMMARY",
                    title="Orders summary",
                    description="Orders and amounts per day and currency.",
                    formats=(ReportFormat.CSV, ReportFormat.JSON, ReportFormat.PDF),
                    max_span_days=366,
                    parameters={
                        "type": "object",
                        "properties": {"currency": {"type": "string", "pattern": "^[A-Z]{3}$"}},
                    },
                ),
            )
        ).model_dump(mode="json", by_alias=True)
    }
}


def _callback(job: dict[str, Any], **more: Any) -> dict[str, Any]:
    ended = ReportJobEnded.model_validate({**job, **more})
    return {"value": ended.model_dump(mode="json", by_alias=True)}


CALLBACKS: Final[dict[str, Any]] = {
    "completed": _callback(JOBS["completed"]["value"], type="report-job.completed"),
    "failed": _callback(JOBS["failed"]["value"], type="report-job.failed"),
}
