"""What becomes of a run when an attempt ends: pure decisions, no clock, no I/O.

Times are those of the database's clock: an attempt's start comes with its claim, and its end is
that start plus the time it took, so that clocks of several machines never mix.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypedDict, assert_never
from uuid import UUID

from shared.backoff import Backoff
from shared.events import (
    Artifact,
    AttemptOutcome,
    JobAttemptEnded,
    JobCompleted,
    JobFailed,
    JobStarted,
    RequestedReport,
)
from shared.job_id import JobId

GENERATION_FAILED: Final = "REPORT_GENERATION_FAILED"
REQUEST_REJECTED: Final = "REQUEST_REJECTED"
TIMED_OUT: Final = "TIMED_OUT"


class LossReason(StrEnum):
    """Why an attempt has no child or worker any more."""

    CRASHED = "CRASHED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"


@dataclass(frozen=True, slots=True)
class Generated:
    """An attempt made its report."""

    artifact: Artifact
    row_count: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt made no report, and why: `message` is for people and holds no internals."""

    code: str
    message: str
    transient: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The child process died under the attempt, or was killed for the memory that it took."""

    reason: LossReason = LossReason.CRASHED


Outcome = Generated | Failure | Lost

UNREADABLE: Final = Failure(
    code=REQUEST_REJECTED, message="The request could not be read.", transient=False
)
INTERNAL_ERROR: Final = Failure(
    code=GENERATION_FAILED,
    message="The report could not be generated because of an internal error.",
    transient=True,
)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run as intake stores it; `request` is None only where it could not be read."""

    job_id: JobId
    run: int
    tenant: str
    created_at: datetime
    report_type: str
    format: str
    request: RequestedReport | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed execution: its lease is the row with `token`.

    `request` is None where this version can't read what an earlier one stored.
    """

    job_id: JobId
    run: int
    attempt: int
    token: UUID
    tenant: str
    created_at: datetime
    report_type: str
    format: str
    request: RequestedReport | None
    traceparent: str | None
    started_at: datetime
    failures: int
    losses: int


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


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a run is attempted again."""

    max_failures: int
    max_losses: int
    backoff: Backoff


def started(attempt: Attempt, worker: str) -> JobStarted:
    """Tell that an attempt began."""
    return JobStarted(**_identity(attempt), started_at=attempt.started_at, worker=worker)


def ending(attempt: Attempt, outcome: Outcome, took: timedelta, policy: RetryPolicy) -> Ending:
    """Decide what an attempt's outcome means for its run; `took` counts from its start."""
    match outcome:
        case Generated():
            return _completed(attempt, outcome, took)
        case Failure():
            return _failed(attempt, outcome, took, policy)
        case Lost():
            return lost(attempt, took, policy, outcome.reason)
        case _:
            assert_never(outcome)


def _completed(attempt: Attempt, report: Generated, took: timedelta) -> Ending:
    if attempt.request is None:
        raise ValueError(f"{attempt.job_id}: nobody makes a report of an unreadable request")
    event = JobCompleted(
        **_identity(attempt),
        started_at=attempt.started_at,
        finished_at=attempt.started_at + took,
        request=attempt.request,
        row_count=report.row_count,
        artifact=report.artifact,
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


def lost(
    attempt: Attempt,
    took: timedelta,
    policy: RetryPolicy,
    reason: LossReason = LossReason.CRASHED,
) -> Ending:
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


def released(attempt: Attempt, took: timedelta) -> Ending:
    """Give a run back untouched: its worker stops, which is nobody's failure."""
    return _again(
        attempt,
        AttemptOutcome.RELEASED,
        took,
        timedelta(),
        failures=attempt.failures,
        losses=attempt.losses,
    )


def rejected(run: NewRun, reason: str, now: datetime) -> JobFailed:
    """End a run that can't be executed as it stands."""
    return JobFailed(
        job_id=run.job_id,
        tenant=run.tenant,
        created_at=run.created_at,
        report_type=run.report_type,
        format=run.format,
        run=run.run,
        attempt=0,
        finished_at=now,
        request=run.request,
        error_code=REQUEST_REJECTED,
        error_message=reason,
        retryable=False,
    )


def artifact_folder(attempt: Attempt) -> str:
    """Return where the attempt puts its file: no other attempt ever writes there."""
    return f"{attempt.job_id}/{attempt.run}/{attempt.attempt}-{attempt.token.hex}"


def _end(
    attempt: Attempt, failure: Failure, took: timedelta, *, failures: int, losses: int
) -> Ending:
    event = JobFailed(
        **_identity(attempt),
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
        **_identity(attempt),
        outcome=outcome,
        started_at=attempt.started_at,
        ended_at=ended_at,
        retry_at=ended_at + wait,
        error_code=failure.code if failure else None,
        error_message=failure.message if failure else None,
    )
    return Ending(attempt, event, failures, losses)


class _Identity(TypedDict):
    job_id: str
    tenant: str
    created_at: datetime
    report_type: str
    format: str
    run: int
    attempt: int


def _identity(attempt: Attempt) -> _Identity:
    return _Identity(
        job_id=attempt.job_id,
        tenant=attempt.tenant,
        created_at=attempt.created_at,
        report_type=attempt.report_type,
        format=attempt.format,
        run=attempt.run,
        attempt=attempt.attempt,
    )
