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
from status_projector.domain.state import (
    Description,
    DescriptionRank,
    Execution,
    ExecutionRank,
    JobState,
    Status,
    Webhook,
    WebhookRank,
    WebhookStatus,
)

_FIRST_RUN: Final = 1
_GOES_ON, _HAS_ENDED = 0, 1


def fold(events: Iterable[AnyJobEvent]) -> dict[str, JobState]:
    """Return the state of every job that `events` speak of, by job id."""
    return join_all({}, events)


def join_all(states: dict[str, JobState], events: Iterable[AnyJobEvent]) -> dict[str, JobState]:
    """Join `events` into `states`, in place, and return them."""
    for event in events:
        state = state_of(event)
        known = states.get(state.job_id)
        states[state.job_id] = state if known is None else known.join(state)
    return states


def state_of(event: AnyJobEvent) -> JobState:
    """Return the least state in which `event` has happened."""
    return JobState(
        job_id=event.job_id,
        description=_description(event),
        execution=_execution(event),
        webhook=_webhook(event),
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


def _execution(event: AnyJobEvent) -> Execution:
    match event:
        case ReportRequested() | RetryRequested():
            return _requested(event, run=event.run)
        case CancelRequested() | DeleteRequested() | WebhookDelivered() | WebhookExhausted():
            # All that it says of the execution is that the job was once requested.
            return _requested(event, run=_FIRST_RUN)
        case JobStarted() | JobProgressed():
            return _running(event)
        case JobAttemptEnded():
            # The run goes on: to a client it waits again, and an error isn't its outcome yet.
            return Execution(
                version=_version(event, ExecutionRank.ATTEMPT_ENDED),
                status=Status.PENDING,
                updated_at=event.ended_at,
            )
        case JobCompleted():
            return _completed(event)
        case JobFailed():
            return _failed(event)
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
    """Put progress, whose sequence begins at 1, above the start of its attempt."""
    return Execution(
        version=_version(event, ExecutionRank.STARTED),
        status=Status.RUNNING,
        updated_at=event.progressed_at if isinstance(event, JobProgressed) else event.started_at,
        started_at=event.started_at,
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
