"""The parts of a job's JSON: its progress, its webhook, its runs with their attempts."""

from typing import Self

from pydantic import Field

from gateway.domain import Attempt, JobStatus, Progress, Run, WebhookOutcome
from gateway.routes.resource import Resource, StoredTimestamp, Timestamp


class JobProgress(Resource):
    """How far the running attempt has come; null where that isn't known."""

    percent: int | None = Field(
        default=None, description="0 to 100; never goes back within an attempt.", examples=[40]
    )
    phase: str = Field(description="What is being done, such as query.", examples=["query"])
    rows_processed: int | None = Field(default=None, examples=[20000])
    rows_total: int | None = Field(
        default=None, description="May be an estimate.", examples=[50000]
    )

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """Show a progress."""
        return cls(
            percent=progress.percent,
            phase=progress.phase,
            rows_processed=progress.rows_processed,
            rows_total=progress.rows_total,
        )


class JobWebhook(Resource):
    """What became of the webhook of a run's end."""

    status: str = Field(
        description="PENDING from the run's end on; then DELIVERED, or EXHAUSTED where the callback"
        " URL was given up on.",
        examples=["DELIVERED"],
    )
    attempts: int = Field(description="How often it was tried; 0 while it is PENDING.")
    updated_at: Timestamp

    @classmethod
    def of(cls, outcome: WebhookOutcome) -> Self:
        """Show an outcome."""
        return cls(status=outcome.status, attempts=outcome.attempts, updated_at=outcome.updated_at)


class JobAttempt(Resource):
    """One execution of a run by a worker."""

    attempt: int = Field(description="Counted over the job's life; it may skip numbers.")
    outcome: str | None = Field(
        default=None,
        description="COMPLETED or FAILED; LOST with its worker; RELEASED by a worker that gave it"
        " back, since it was shut down or had no room. Null while it runs, and until its end is"
        " known.",
        examples=["COMPLETED"],
    )
    started_at: StoredTimestamp | None = None
    ended_at: StoredTimestamp | None = None
    retry_at: StoredTimestamp | None = Field(
        default=None, description="Where the run goes on with another attempt: not before this."
    )
    error_code: str | None = None
    error_message: str | None = None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """Show an attempt."""
        return cls(
            attempt=attempt.number,
            outcome=attempt.outcome,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            retry_at=attempt.retry_at,
            error_code=attempt.error_code,
            error_message=attempt.error_message,
        )


class JobRun(Resource):
    """What was asked for once, by the submission or by a retry, and what became of it."""

    run: int = Field(description="1, and one more for each retry of the job.")
    status: JobStatus
    requested_at: StoredTimestamp | None = None
    cancel_requested_at: StoredTimestamp | None = Field(
        default=None, description="When it was asked to stop, whether or not it did."
    )
    started_at: StoredTimestamp | None = Field(
        default=None, description="Start of the first attempt."
    )
    finished_at: StoredTimestamp | None = None
    error_code: str | None = None
    error_message: str | None = None
    attempts: tuple[JobAttempt, ...]
    webhook: JobWebhook | None = None

    @classmethod
    def of(cls, run: Run) -> Self:
        """Show a run."""
        return cls(
            run=run.number,
            status=run.status,
            requested_at=run.requested_at,
            cancel_requested_at=run.cancel_requested_at,
            started_at=run.started_at,
            finished_at=run.finished_at,
            error_code=run.error_code,
            error_message=run.error_message,
            attempts=tuple(map(JobAttempt.of, run.attempts)),
            webhook=JobWebhook.of(run.webhook) if run.webhook else None,
        )
