"""An audit that never finds anything proves nothing: each breach is found, and no other."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from report_worker import domain
from report_worker.domain import Attempt, Cancelled, Lost, Outcome
from shared.events import (
    AnyJobEvent,
    AttemptOutcome,
    DeleteRequested,
    JobAttemptEnded,
    JobStarted,
    Progress,
    ReceivedEvent,
    ReportRequested,
    RetryRequested,
    WebhookDelivered,
    event_id,
    webhook_id,
)
from tests.support.log_audit import breaches, tell
from tests.support.report_runs import (
    GENERATED,
    NOON,
    POLICY,
    REQUEST,
    attempt,
    job_id,
    waiting_run,
)

SECOND = timedelta(seconds=1)
JOB: dict[str, Any] = {
    "job_id": job_id(1),
    "tenant": "acme",
    "created_at": NOON,
    "report_type": "EMPTY",
    "format": "CSV",
}
History = list[AnyJobEvent]


def of(number: int, run: int = 1) -> Attempt:
    return attempt(attempt=number, run=run, started_at=NOON + number * timedelta(minutes=1))


def began(number: int, *, run: int = 1) -> JobStarted:
    return domain.started(of(number, run), "one")


def ended(number: int, outcome: Outcome | Cancelled, *, run: int = 1) -> AnyJobEvent:
    return domain.ending(of(number, run), outcome, SECOND, POLICY).event


def progressed(number: int, percent: int, sequence: int) -> AnyJobEvent:
    report = domain.ProgressReport(
        of(number), Progress(phase="query", percent=percent), SECOND, sequence
    )
    return domain.progressed(report, "one")


def failed_for_good(number: int, *, run: int = 1) -> AnyJobEvent:
    return ended(number, domain.Failure("BROKEN", "Never.", transient=False), run=run)


def history() -> History:
    """Return a job that was lost, failed, was retried and completed."""
    end = ended(3, GENERATED, run=2)
    return [
        ReportRequested(**JOB, run=1, request=REQUEST),
        began(1),
        progressed(1, 10, 1),
        progressed(1, 20, 2),
        ended(1, Lost()),
        began(2),
        failed_for_good(2),
        RetryRequested(**JOB, run=2, request=REQUEST, requested_at=NOON),
        began(3, run=2),
        end,
        WebhookDelivered(
            **JOB,
            run=2,
            webhook_id=webhook_id(event_id(end)),
            attempts=1,
            delivered_at=NOON,
            status_code=204,
        ),
    ]


def found(events: History) -> list[str]:
    return breaches(tell(ReceivedEvent(one, str(event_id(one)), "", None) for one in events))


def test_a_history_as_promised_has_no_breach_in_whatever_order_and_however_often() -> None:
    assert found(history()) == []
    assert found([*history()[::-1], *history()]) == []


def test_a_run_that_was_cancelled_while_it_waited_ends_after_its_last_attempt() -> None:
    cancelled = domain.cancelled(waiting_run(attempt=1), NOON)
    assert found([*history()[:5], cancelled]) == []


def test_of_a_deleted_job_no_end_is_expected() -> None:
    deleted = DeleteRequested(**JOB, run=1, requested_at=NOON)
    assert found([*history()[:2], deleted]) == []


def without(kind: type[AnyJobEvent]) -> Callable[[History], History]:
    """Lose the last event of a kind."""

    def lose(events: History) -> History:
        last = max(at for at, one in enumerate(events) if isinstance(one, kind))
        return events[:last] + events[last + 1 :]

    return lose


def with_more(*more: AnyJobEvent) -> Callable[[History], History]:
    return lambda events: [*events, *more]


def otherwise_ended(events: History) -> History:
    ends = [one for one in events if isinstance(one, JobAttemptEnded)]
    return [*events, *(one.model_copy(update={"outcome": AttemptOutcome.FAILED}) for one in ends)]


def all_at_once(events: History) -> History:
    return [
        one.model_copy(update={"started_at": NOON}) if isinstance(one, JobStarted) else one
        for one in events
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda events: events[:2], "has no end"),
        (without(RetryRequested), "was never asked for"),
        (without(JobStarted), "attempt 3 ended and never began"),
        (without(JobAttemptEnded), "attempt 1 ended 0 times"),
        (with_more(failed_for_good(3, run=2)), "ended 2 times"),
        (with_more(ended(2, Lost())), "attempt 2 ended 2 times"),
        (otherwise_ended, " is "),
        (with_more(began(5, run=2), ended(5, Lost(), run=2)), "counts its attempts"),
        (all_at_once, "began its attempts at"),
        (with_more(progressed(1, 5, 3)), "attempt 1 went back"),
        (with_more(progressed(4, 5, 1)), "attempt 4 progressed and never began"),
    ],
)
def test_each_breach_is_found(change: Callable[[History], History], told: str) -> None:
    assert any(told in breach for breach in found(change(history())))
