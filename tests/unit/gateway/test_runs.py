"""Runs and attempts out of facts that come in any order, more than once, and in part."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import Attempt, Fact, Job, JobStatus, Run, WebhookOutcome, runs_of
from shared.clock import rfc3339
from shared.job_id import JobId

T0: Final = datetime(2024, 2, 1, 9, 30, tzinfo=UTC)


def at(seconds: int) -> str:
    return rfc3339(T0 + timedelta(seconds=seconds))


def fact(event: str, seconds: int, *, run: int = 1, **more: Any) -> Fact:
    moments = {"startedAt", "retryAt"}
    spelled = {name: at(value) if name in moments else value for name, value in more.items()}
    return {"event": event, "run": run, "at": at(seconds), **spelled}


def job(status: JobStatus, run: int, *facts: Fact) -> Job:
    blank = Job.pending(JobId("job_" + "0" * 40), T0)
    history = json.dumps(dict(enumerate(facts)))
    return replace(blank, status=status, run=run, history=history)


FAILED_ONCE: Final = (
    fact("ReportRequested", 0),
    fact("JobStarted", 1, attempt=1, worker="w"),
    fact("JobAttemptEnded", 2, attempt=1, startedAt=1, outcome="LOST", retryAt=3),
    fact("JobStarted", 4, attempt=2, worker="w"),
    fact("JobFailed", 5, attempt=2, startedAt=4, errorCode="TIMED_OUT", errorMessage="Too long."),
    fact("WebhookExhausted", 9, attempts=7, reason="timeout"),
)
RETRIED: Final = (
    *FAILED_ONCE,
    fact("RetryRequested", 10, run=2),
    fact("JobStarted", 11, run=2, attempt=3, worker="w"),
    fact("CancelRequested", 12, run=2),
    fact("JobCompleted", 13, run=2, attempt=3, startedAt=11),
    fact("WebhookDelivered", 14, run=2, attempts=1),
)
FIRST: Final = Run(
    number=1,
    status=JobStatus.FAILED,
    requested_at=at(0),
    cancel_requested_at=None,
    finished_at=at(5),
    error_code="TIMED_OUT",
    error_message="Too long.",
    attempts=(
        Attempt(1, at(1), at(2), "LOST", at(3)),
        Attempt(2, at(4), at(5), "FAILED", None, "TIMED_OUT", "Too long."),
    ),
    webhook=WebhookOutcome("EXHAUSTED", 7, T0 + timedelta(seconds=9)),
)
SECOND: Final = Run(
    number=2,
    status=JobStatus.COMPLETED,
    requested_at=at(10),
    cancel_requested_at=at(12),
    finished_at=at(13),
    error_code=None,
    error_message=None,
    attempts=(Attempt(3, at(11), at(13), "COMPLETED"),),
    webhook=WebhookOutcome("DELIVERED", 1, T0 + timedelta(seconds=14)),
)


def test_a_retry_adds_a_run_and_changes_no_other() -> None:
    assert runs_of(job(JobStatus.FAILED, 1, *FAILED_ONCE)) == (FIRST,)
    assert runs_of(job(JobStatus.COMPLETED, 2, *RETRIED)) == (FIRST, SECOND)
    assert (FIRST.started_at, SECOND.started_at) == (at(1), at(11))


@given(st.permutations(RETRIED), st.sampled_from(RETRIED))
def test_neither_order_nor_repetition_matters(facts: list[Fact], again: Fact) -> None:
    assert runs_of(job(JobStatus.COMPLETED, 2, *facts, again)) == (FIRST, SECOND)


@given(st.sets(st.sampled_from(range(len(RETRIED)))), st.sampled_from(JobStatus))
def test_whatever_part_is_known_makes_runs(known: set[int], status: JobStatus) -> None:
    runs = runs_of(job(status, 2, *(RETRIED[number] for number in sorted(known))))
    assert [run.number for run in runs] == [1, 2]
    assert runs[0].requested_at == at(0)
    assert runs[1].status == status
    for run in runs:
        numbers = [attempt.number for attempt in run.attempts]
        assert numbers == sorted(set(numbers))
        assert all(attempt.started_at is not None for attempt in run.attempts)


def test_a_job_just_accepted_has_one_run_that_waits() -> None:
    [run] = runs_of(job(JobStatus.PENDING, 1))
    assert (run.status, run.requested_at, run.attempts) == (JobStatus.PENDING, at(0), ())


def test_an_attempt_that_goes_on_has_no_outcome() -> None:
    [run] = runs_of(job(JobStatus.RUNNING, 1, *FAILED_ONCE[:2]))
    assert run.attempts == (Attempt(1, at(1)),)
    assert run.finished_at is None


def test_the_end_of_an_attempt_tells_its_start() -> None:
    [run] = runs_of(job(JobStatus.PENDING, 1, FAILED_ONCE[2]))
    assert run.attempts == (Attempt(1, at(1), at(2), "LOST", at(3)),)


@pytest.mark.parametrize("code", ["CANCELLED", "EXPIRED", "REQUEST_REJECTED"])
def test_a_run_that_ends_while_it_waits_has_no_attempt_for_its_end(code: str) -> None:
    end = fact("JobFailed", 5, attempt=1, errorCode=code, errorMessage="So.")
    [run] = runs_of(job(JobStatus.FAILED, 1, *FAILED_ONCE[:3], end))
    assert [attempt.outcome for attempt in run.attempts] == ["LOST"]
    assert (run.error_code, run.finished_at) == (code, at(5))


def test_of_several_requests_the_first_counts() -> None:
    retries = (fact("RetryRequested", second, run=2) for second in (12, 10, 11))
    cancels = (fact("CancelRequested", second, run=2) for second in (15, 13))
    second = runs_of(job(JobStatus.PENDING, 2, *retries, *cancels))[1]
    assert (second.requested_at, second.cancel_requested_at) == (at(10), at(13))


def test_a_webhook_that_was_delivered_stays_delivered() -> None:
    outcomes = (
        fact("WebhookDelivered", 5, attempts=2),
        fact("WebhookExhausted", 9, attempts=8, reason="timeout"),
    )
    [run] = runs_of(job(JobStatus.COMPLETED, 1, *outcomes))
    assert run.webhook == WebhookOutcome("DELIVERED", 2, T0 + timedelta(seconds=5))


def test_a_webhook_is_pending_from_the_end_of_its_run() -> None:
    end = fact("JobCompleted", 5, attempt=1, startedAt=4, webhook="PENDING")
    [run] = runs_of(job(JobStatus.COMPLETED, 1, end))
    assert run.webhook == WebhookOutcome("PENDING", 0, T0 + timedelta(seconds=5))


def test_a_worker_that_was_put_back_may_tell_of_an_attempt_twice() -> None:
    again = (
        fact("JobStarted", 20, attempt=1, worker="w"),
        fact("JobCompleted", 22, attempt=1, startedAt=20),
    )
    [run] = runs_of(job(JobStatus.COMPLETED, 1, *FAILED_ONCE[:2], *again))
    assert run.attempts == (Attempt(1, at(20), at(22), "COMPLETED"),)


def test_events_of_a_later_version_add_nothing() -> None:
    [run] = runs_of(job(JobStatus.RUNNING, 1, *FAILED_ONCE[:2], fact("JobPaused", 2, attempt=1)))
    assert run.attempts == (Attempt(1, at(1)),)
