"""The body of a webhook: the job as `GET /report-jobs/{id}` shows it, and what happened to it."""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from shared import job_id
from shared.events import JobCompleted, JobFailed
from shared.job_id import JobId
from shared.links import DownloadLinks

TerminalEvent = JobCompleted | JobFailed

_LONGEST_MESSAGE: Final = 2000


class WebhookPayload(BaseModel):
    """What a receiver is sent: thin, because the report itself is behind `downloadUrl`."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    type: Literal["report-job.completed", "report-job.failed"]
    job_id: str
    status: Literal["COMPLETED", "FAILED"]
    download_url: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    report_type: str
    format: str
    run: int
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime
    expires_at: AwareDatetime


def body_bytes(event: TerminalEvent, links: DownloadLinks, retention: timedelta) -> bytes:
    """Return the bytes to store, sign and send."""
    expires_at = _expires_at(event, retention)
    about = {
        "job_id": event.job_id,
        "report_type": event.report_type,
        "format": event.format,
        "run": event.run,
        "created_at": event.created_at,
        "started_at": event.started_at,
        "finished_at": event.finished_at,
        "expires_at": expires_at,
    }
    match event:
        case JobCompleted():
            payload = WebhookPayload(
                type="report-job.completed",
                status="COMPLETED",
                download_url=links.url(event.job_id, expires_at),
                **about,
            )
        case JobFailed():
            payload = WebhookPayload(
                type="report-job.failed",
                status="FAILED",
                error_code=event.error_code,
                error_message=event.error_message[:_LONGEST_MESSAGE],
                **about,
            )
    return payload.model_dump_json(by_alias=True).encode()


def _expires_at(event: TerminalEvent, retention: timedelta) -> datetime:
    """Return when the job's row, file and link end: counted from the time in its id."""
    try:
        return job_id.created_at(JobId(event.job_id)) + retention
    except (ValueError, OverflowError):  # an id that we never gave out
        return event.created_at + retention
