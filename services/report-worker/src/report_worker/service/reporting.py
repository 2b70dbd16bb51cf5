"""One wide log line and one count for every end of an attempt, and of a run without one."""

from collections.abc import Callable

import structlog

from report_worker.domain import Ending, Run
from report_worker.metrics import WorkerMetrics
from shared.events import JobAttemptEnded, JobCompleted, JobFailed
from shared.telemetry.trace import trace_id

_log = structlog.get_logger()


def report_ending(ending: Ending, metrics: WorkerMetrics, *, counted: bool) -> None:
    """Report an ending; `counted` is false for that of a zombie, whose lease was not its own."""
    attempt, event = ending.attempt, ending.event
    outcome, write = _judge(event) if counted else ("DISCARDED", _log.warning)
    seconds = ending.took.total_seconds()
    metrics.attempts.labels(outcome).inc()
    metrics.duration.labels(attempt.report_type, attempt.format).observe(seconds)
    write(
        "attempt ended",
        outcome=outcome,
        job_id=attempt.job_id,
        run=attempt.run,
        attempt=attempt.attempt,
        tenant=attempt.tenant,
        report_type=attempt.report_type,
        format=attempt.format,
        seconds=round(seconds, 3),
        rows=event.row_count if isinstance(event, JobCompleted) else None,
        error_code=None if isinstance(event, JobCompleted) else event.error_code,
        retry_at=event.retry_at if isinstance(event, JobAttemptEnded) else None,
        trace_id=trace_id(attempt.traceparent),
    )


def report_unattempted(run: Run, event: JobFailed, metrics: WorkerMetrics) -> None:
    """Report a run that ended while no attempt was going on."""
    metrics.attempts.labels(event.error_code).inc()
    _log.warning(
        "run ended without an attempt",
        outcome=event.error_code,
        job_id=run.job_id,
        run=run.run,
        tenant=run.tenant,
        report_type=run.report_type,
        format=run.format,
        reason=event.error_message,
        trace_id=trace_id(run.traceparent),
    )


def _judge(event: JobAttemptEnded | JobCompleted | JobFailed) -> tuple[str, Callable[..., object]]:
    match event:
        case JobCompleted():
            return "COMPLETED", _log.info
        case JobFailed():
            return event.error_code, _log.warning
        case JobAttemptEnded():
            return event.outcome, _log.warning
