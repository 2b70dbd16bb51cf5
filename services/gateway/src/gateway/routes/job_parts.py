"""The parts of a job's JSON: its progress, its webhook."""

from typing import Self

from pydantic import Field

from gateway.domain import Progress, WebhookOutcome
from gateway.routes.resource import Resource, Timestamp


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
    """What became of the webhook of the job's last run."""

    status: str = Field(
        description="DELIVERED, or EXHAUSTED where the callback URL was given up on.",
        examples=["DELIVERED"],
    )
    attempts: int
    updated_at: Timestamp

    @classmethod
    def of(cls, outcome: WebhookOutcome) -> Self:
        """Show an outcome."""
        return cls(status=outcome.status, attempts=outcome.attempts, updated_at=outcome.updated_at)
