"""How a run ends that no attempt is going on for: refused, cancelled, or left waiting too long."""

from datetime import datetime

from report_worker.domain.outcomes import CANCELLATION, EXPIRY, REQUEST_REJECTED, Failure
from report_worker.domain.runs import Run, WaitingRun, identity
from shared.events import JobFailed


def rejected(run: Run, reason: str, now: datetime) -> JobFailed:
    """End a run that can't be executed as it stands."""
    failure = Failure(code=REQUEST_REJECTED, message=reason, transient=False)
    return _end(run, failure, now, attempt=0)


def cancelled(run: WaitingRun, now: datetime) -> JobFailed:
    """End a run that was cancelled before its next attempt."""
    return _end(run, CANCELLATION, now, attempt=run.attempt)


def expired(run: WaitingRun, now: datetime) -> JobFailed:
    """End a run that nobody began to execute in time."""
    return _end(run, EXPIRY, now, attempt=run.attempt)


def _end(run: Run, failure: Failure, now: datetime, *, attempt: int) -> JobFailed:
    return JobFailed(
        **identity(run, attempt=attempt),
        finished_at=now,
        request=run.request,
        error_code=failure.code,
        error_message=failure.message,
        retryable=failure.transient,
    )
