"""What becomes of a run when an attempt ends: pure decisions, no clock, no I/O.

Times are those of the database's clock: an attempt's start comes with its claim, and its end is
that start plus the time it took, so that clocks of several machines never mix.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from report_worker.domain.outcomes import (
    CANCELLATION,
    Cancelled,
    Failure,
    Generated,
    LossReason,
    Lost,
    Outcome,
    Released,
)
from report_worker.domain.runs import Attempt, identity
from shared.backoff import Backoff
from shared.events import AttemptOutcome, JobAttemptEnded, JobCompleted, JobFailed


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt's row changes, and the event that tells of it; both or neither happen."""

    attempt: Attempt
    event: JobAttemptEnded | JobCompleted | JobFailed
    failures: int
    losses: int

    @property
    def retry_at(self) -> datetime | None:
        """When the run is attempted again; None when it has ended."""
        return self.event.retry_at if isinstance(self.event, JobAttemptEnded) else None

    @property
    def is_due_at_once(self) -> bool:
        """Whether the run can be attempted again without a wait."""
        return self.retry_at is not None and self.retry_at <= self.ended_at

    @property
    def ended_at(self) -> datetime:
        """When the attempt ended."""
        if isinstance(self.event, JobAttemptEnded):
            return self.event.ended_at
        return self.event.finished_at

    @property
    def took(self) -> timedelta:
        """How long the attempt took."""
        return self.ended_at - self.attempt.started_at

    @property
    def artifact_path(self) -> str | None:
        """Where the report is that the run ended with, if it did."""
        return self.event.artifact.path if isinstance(self.event, JobCompleted) else None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a run is attempted again."""

    max_failures: int
    max_losses: int
    backoff: Backoff


def ending(
    attempt: Attempt,
    outcome: Outcome | Cancelled,
    took: timedelta,
    policy: RetryPolicy,
) -> Ending:
    """Decide what an attempt's outcome means for its run; `took` counts from its start."""
    match outcome:
        case Generated():
            return _completed(attempt, outcome, took)
        case Failure():
            return _failed(attempt, outcome, took, policy)
        case Lost():
            return _lost(attempt, outcome.reason, took, policy)
        case Cancelled():
            return _end(
                attempt, CANCELLATION, took, failures=attempt.failures, losses=attempt.losses
            )
        case Released():
            return _released(attempt, took)
        case _:
            assert_never(outcome)


def _completed(attempt: Attempt, report: Generated, took: timedelta) -> Ending:
    if attempt.request is None:
        raise ValueError(f"{attempt.job_id}: nobody makes a report of an unreadable request")
    event = JobCompleted(
        **identity(attempt, attempt=attempt.attempt),
        started_at=attempt.started_at,
        finished_at=attempt.started_at + took,
        request=attempt.request,
        row_count=report.row_count,
        artifact=report.artifact,
        duration_ms=took // timedelta(milliseconds=1),
    )
    return Ending(attempt, event, attempt.failures, attempt.losses)


def _failed(attempt: Attempt, failure: Failure, took: timedelta, policy: RetryPolicy) -> Ending:
    failures = attempt.failures + 1
    if not failure.transient or failures >= policy.max_failures:
        return _end(attempt, failure, took, failures=failures, losses=attempt.losses)
    wait = timedelta(seconds=policy.backoff.delay(failures))
    return _again(
        attempt,
        AttemptOutcome.FAILED,
        took,
        wait,
        failure=failure,
        failures=failures,
        losses=attempt.losses,
    )


def _lost(attempt: Attempt, reason: LossReason, took: timedelta, policy: RetryPolicy) -> Ending:
    """Try a run again whose worker or child died under it, unless that happened too often."""
    losses = attempt.losses + 1
    failure = _loss(reason, losses)
    if losses >= policy.max_losses:
        return _end(attempt, failure, took, failures=attempt.failures, losses=losses)
    wait = timedelta(seconds=policy.backoff.delay(losses)) if losses > 1 else timedelta()
    return _again(
        attempt,
        AttemptOutcome.LOST,
        took,
        wait,
        failure=failure,
        failures=attempt.failures,
        losses=losses,
    )


def _loss(reason: LossReason, losses: int) -> Failure:
    match reason:
        case LossReason.CRASHED:
            message = "The process that ran the report was lost"
        case LossReason.OUT_OF_MEMORY:
            message = "The report needed more memory than one may have"
    often = "" if losses == 1 else f" {losses} times"
    return Failure(code=reason, message=f"{message}{often}.", transient=True)


def _released(attempt: Attempt, took: timedelta) -> Ending:
    """Give a run back untouched."""
    return _again(
        attempt,
        AttemptOutcome.RELEASED,
        took,
        timedelta(),
        failures=attempt.failures,
        losses=attempt.losses,
    )


def _end(
    attempt: Attempt, failure: Failure, took: timedelta, *, failures: int, losses: int
) -> Ending:
    event = JobFailed(
        **identity(attempt, attempt=attempt.attempt),
        started_at=attempt.started_at,
        finished_at=attempt.started_at + took,
        request=attempt.request,
        error_code=failure.code,
        error_message=failure.message,
        retryable=failure.transient,
    )
    return Ending(attempt, event, failures, losses)


def _again(
    attempt: Attempt,
    outcome: AttemptOutcome,
    took: timedelta,
    wait: timedelta,
    *,
    failures: int,
    losses: int,
    failure: Failure | None = None,
) -> Ending:
    ended_at = attempt.started_at + took
    event = JobAttemptEnded(
        **identity(attempt, attempt=attempt.attempt),
        outcome=outcome,
        started_at=attempt.started_at,
        ended_at=ended_at,
        retry_at=ended_at + wait,
        error_code=failure.code if failure else None,
        error_message=failure.message if failure else None,
    )
    return Ending(attempt, event, failures, losses)
