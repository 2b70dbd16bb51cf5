"""What each event says of its job, and what many of them add up to."""

from collections.abc import Iterable
from typing import Final, assert_never

from shared.events import (
    UNKNOWN,
    AnyJobEvent,
    CancelRequested,
    DeleteRequested,
    ExecutionEvent,
    JobAttemptEnded,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobProgressed,
    JobStarted,
    ReportRequested,
    RequestedReport,
    RetryRequested,
    WebhookDelivered,
    WebhookExhausted,
)
from status_projector.domain.history import history_of, wants_webhook
from status_projector.domain.state import (
    NOWHERE,
    AnyState,
    Cancellation,
    Description,
    DescriptionRank,
    Execution,
    ExecutionRank,
    JobState,
    Status,
    Tombstone,
    Vector,
    Webhook,
    WebhookRank,
    WebhookStatus,
)

_FIRST_RUN: Final = 1
_GOES_ON, _HAS_ENDED = 0, 1

LivingEvent = (
    ReportRequested
    | RetryRequested
    | CancelRequested
    | JobStarted
    | JobProgressed
    | JobAttemptEnded
    | JobCompleted
    | JobFailed
    | WebhookDelivered
    | WebhookExhausted
)
"""Every event but the one after which no other counts."""

LoggedEvent = tuple[AnyJobEvent, Vector]
"""An event, and how far the log was read when it was: its own offset and one, in its topic."""


def fold(events: Iterable[LoggedEvent]) -> dict[str, AnyState]:
    """Return the state of every job that `events` speak of, by job id."""
    return join_all({}, events)


def join_all(states: dict[str, AnyState], events: Iterable[LoggedEvent]) -> dict[str, AnyState]:
    """Join `events` into `states`, in place, and return them."""
    for event, vector in events:
        state = state_of(event, vector)
        known = states.get(state.job_id)
        states[state.job_id] = state if known is None else known.join(state)
    return states


def state_of(event: AnyJobEvent, vector: Vector = NOWHERE) -> AnyState:
    """Return the least state in which `event` has happened."""
    if isinstance(event, DeleteRequested):
        return Tombstone(
            job_id=event.job_id, tenant=event.tenant, deleted_at=event.requested_at, vector=vector
        )
    return JobState(
        job_id=event.job_id,
        description=_description(event),
        execution=_execution(event),
        cancellation=(
            Cancellation(event.run, event.requested_at)
            if isinstance(event, CancelRequested)
            else None
        ),
        webhook=_webhook(event),
        history=history_of(event),
        vector=vector,
    )


def _description(event: AnyJobEvent) -> Description:
    request = _request(event)
    if request is not None:
        rank = DescriptionRank.WHOLE
    elif event.report_type != UNKNOWN:
        rank = DescriptionRank.NAMED
    else:
        rank = DescriptionRank.UNREADABLE
    return Description(
        version=(rank,),
        tenant=event.tenant,
        report_type=event.report_type,
        format=event.format,
        created_at=event.created_at,
        request=None if request is None else request.model_dump_json(by_alias=True),
    )


def _request(event: AnyJobEvent) -> RequestedReport | None:
    match event:
        case ReportRequested() | RetryRequested() | JobCompleted() | JobFailed():
            return event.request
        case _:
            return None


def _execution(event: LivingEvent) -> Execution:
    match event:
        case JobStarted() | JobProgressed():
            return _running(event)
        case JobCompleted():
            return _completed(event)
        case JobFailed():
            return _failed(event)
        case JobAttemptEnded():
            # The run goes on: to a client it waits again, and an error isn't its outcome yet.
            return Execution(
                version=_version(event, ExecutionRank.ATTEMPT_ENDED),
                status=Status.PENDING,
                updated_at=event.ended_at,
            )
        case ReportRequested() | RetryRequested():
            return _requested(event, run=event.run)
        case CancelRequested() | WebhookDelivered() | WebhookExhausted():
            # All that it says of the execution is that the job was once requested.
            return _requested(event, run=_FIRST_RUN)
        case _:
            assert_never(event)


def _version(event: ExecutionEvent, rank: ExecutionRank) -> tuple[int, ...]:
    """Put the end of a run above all its attempts, whatever their numbers.

    A worker whose database was put back counts attempts again that the log knows already, and may
    end the run in one with a lower number.
    """
    phase = _HAS_ENDED if rank is ExecutionRank.RUN_ENDED else _GOES_ON
    return (event.run, phase, event.attempt, rank, event.sequence)


def _running(event: JobStarted | JobProgressed) -> Execution:
    if isinstance(event, JobStarted):
        return Execution(
            version=_version(event, ExecutionRank.STARTED),
            status=Status.RUNNING,
            updated_at=event.started_at,
            started_at=event.started_at,
        )
    return Execution(
        version=_version(event, ExecutionRank.PROGRESSED),
        status=Status.RUNNING,
        updated_at=event.progressed_at,
        started_at=event.started_at,
        progress_phase=event.progress.phase,
        progress_percent=event.progress.percent,
        rows_processed=event.progress.rows_processed,
        rows_total=event.progress.rows_total,
    )


def _requested(event: JobEvent, *, run: int) -> Execution:
    return Execution(
        version=(run, _GOES_ON, 0, ExecutionRank.REQUESTED, 0),
        status=Status.PENDING,
        updated_at=event.requested_at if isinstance(event, RetryRequested) else event.created_at,
    )


def _completed(event: JobCompleted) -> Execution:
    return Execution(
        version=_version(event, ExecutionRank.RUN_ENDED),
        status=Status.COMPLETED,
        updated_at=event.finished_at,
        started_at=event.started_at,
        finished_at=event.finished_at,
        artifact_path=event.artifact.path,
        file_name=event.artifact.file_name,
        media_type=event.artifact.media_type,
        byte_count=event.artifact.byte_count,
        sha256=event.artifact.sha256,
        row_count=event.row_count,
    )


def _failed(event: JobFailed) -> Execution:
    return Execution(
        version=_version(event, ExecutionRank.RUN_ENDED),
        status=Status.FAILED,
        updated_at=event.finished_at,
        started_at=event.started_at,
        finished_at=event.finished_at,
        error_code=event.error_code,
        error_message=event.error_message,
        retryable=event.retryable,
    )


def _webhook(event: AnyJobEvent) -> Webhook | None:
    match event:
        case JobCompleted() | JobFailed() if wants_webhook(event):
            return Webhook(
                version=(event.run, WebhookRank.PENDING, 0),
                status=WebhookStatus.PENDING,
                attempts=0,
                updated_at=event.finished_at,
            )
        case WebhookDelivered():
            return Webhook(
                version=(event.run, WebhookRank.DELIVERED, event.attempts),
                status=WebhookStatus.DELIVERED,
                attempts=event.attempts,
                updated_at=event.delivered_at,
            )
        case WebhookExhausted():
            return Webhook(
                version=(event.run, WebhookRank.EXHAUSTED, event.attempts),
                status=WebhookStatus.EXHAUSTED,
                attempts=event.attempts,
                updated_at=event.exhausted_at,
            )
        case _:
            return None
