"""A job as clients see it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from gateway.domain.vector import Vector
from shared.job_id import JobId


class JobStatus(StrEnum):
    """The states of the published contract."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def is_terminal(self) -> bool:
        """Whether the run is over."""
        return self is JobStatus.COMPLETED or self is JobStatus.FAILED


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """Where a report's file is and what it is; `path` is relative to the store's root."""

    path: str
    file_name: str
    media_type: str
    byte_count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class WebhookOutcome:
    """What became of the webhook of the job's last run; `attempts` is 0 while it is PENDING."""

    status: str
    attempts: int
    updated_at: datetime


Fact = Mapping[str, Any]
"""What one event said: `event`, `run`, `at`, and what its type adds; moments as RFC 3339."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the running attempt has come; None where that isn't known."""

    phase: str
    percent: int | None
    rows_processed: int | None
    rows_total: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment. Only the id and its moment are known before its first event is read."""

    job_id: JobId
    status: JobStatus
    created_at: datetime
    updated_at: datetime
    report_type: str | None = None
    format: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    retryable: bool | None = None
    row_count: int | None = None
    artifact: StoredArtifact | None = None
    webhook: WebhookOutcome | None = None
    run: int = 1
    progress: Progress | None = None
    cancel_requested: bool = False
    history: str = "{}"
    """What is known to have happened, as the projector keeps it; nothing in a listing."""
    vector: Vector = field(default_factory=Vector)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What is in the history, which is JSON: facts by keys of no further meaning, unordered."""
        return tuple(json.loads(self.history).values())

    @classmethod
    def pending(
        cls,
        job_id: JobId,
        created_at: datetime,
        *,
        report_type: str | None = None,
        format: str | None = None,  # noqa: A002 - the field's name in the contract
    ) -> "Job":
        """Return a job of which nothing has been heard since it was accepted."""
        return cls(
            job_id=job_id,
            status=JobStatus.PENDING,
            created_at=created_at,
            updated_at=created_at,
            report_type=report_type,
            format=format,
        )


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with what the gateway adds to it. `retry_after` in seconds, None when terminal."""

    job: Job
    expires_at: datetime
    download_url: str | None
    retry_after: int | None


def poll_interval(age: timedelta) -> int:
    """Return how many seconds a client should wait between polls of a job of this age.

    A tenth of the age: short reports are seen at once, long ones cost few requests.
    """
    tenth = age // timedelta(seconds=10)
    return max(1, min(tenth, 10))
