"""Events and deliveries as the notifier's tests need them."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from notifier.domain import JobFacts, NewDelivery
from shared.events import (
    Artifact,
    JobCompleted,
    JobFailed,
    RequestedDateRange,
    RequestedReport,
    webhook_id,
)
from shared.job_id import JobIds
from shared.keyring import KeyRing
from shared.links import DownloadLinks

CREATED_AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
RETENTION: Final = timedelta(days=7)
KEY_RING: Final = KeyRing(1, {1: b"k" * 32})
JOB_IDS: Final = JobIds(KEY_RING, lambda: CREATED_AT)
LINKS: Final = DownloadLinks("https://reports.example.com", KEY_RING, lambda: CREATED_AT)
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def request(callback_url: str | None) -> RequestedReport:
    return RequestedReport(
        report_type="ORDERS_SUMMARY",
        date_range=RequestedDateRange(from_date="2024-01-01", to_date="2024-01-31"),
        format="CSV",
        callback_url=callback_url,
    )


def completed(callback_url: str | None, *, tenant: str = "default") -> JobCompleted:
    job_id = JOB_IDS.new(tenant)
    return JobCompleted(
        job_id=job_id,
        tenant=tenant,
        created_at=CREATED_AT,
        report_type="ORDERS_SUMMARY",
        format="CSV",
        run=1,
        attempt=1,
        started_at=CREATED_AT,
        finished_at=CREATED_AT + timedelta(seconds=3),
        request=request(callback_url),
        artifact=Artifact(
            path=f"{job_id}/1/1/report.csv",
            file_name="report.csv",
            media_type="text/csv",
            byte_count=10,
            sha256="0" * 64,
        ),
        row_count=2,
    )


def failed(callback_url: str | None, message: str = "The data source is down.") -> JobFailed:
    return JobFailed(
        job_id=JOB_IDS.new("default"),
        tenant="default",
        created_at=CREATED_AT,
        report_type="ORDERS_SUMMARY",
        format="CSV",
        run=1,
        attempt=3,
        finished_at=CREATED_AT + timedelta(seconds=3),
        request=request(callback_url),
        error_code="REPORT_GENERATION_FAILED",
        error_message=message,
        retryable=True,
    )


def delivery(
    url: str = "https://x.com/hook", origin: str | None = None, tenant: str = "default"
) -> NewDelivery:
    """A delivery of its own event; the origin is the URL's beginning unless given."""
    event_id = uuid.uuid4()  # noqa: TID251 - any id will do
    return NewDelivery(
        event_id=event_id,
        webhook_id=webhook_id(event_id),
        url=url,
        origin=origin or "/".join(url.split("/")[:3]),
        body=b'{"type": "report-job.completed"}',
        job=JobFacts(
            job_id=JOB_IDS.new(tenant),
            tenant=tenant,
            run=1,
            created_at=CREATED_AT,
            report_type="ORDERS_SUMMARY",
            format="CSV",
            traceparent=None,
        ),
    )
