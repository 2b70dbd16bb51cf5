"""What becomes of a run when an attempt ends."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_worker import domain
from report_worker.domain import Cancelled, Failure, LossReason, Lost, Outcome, Released, WaitingRun
from shared.events import JobAttemptEnded, JobCompleted, JobFailed, Progress, event_id
from tests.support.report_runs import (
    GENERATED,
    NOON,
    POLICY,
    REQUEST,
    attempt,
    new_run,
    waiting_run,
)

TOOK: Final = timedelta(seconds=5)
STARTED: Final = attempt().started_at
TRANSIENT: Final = Failure("REPORT_GENERATION_FAILED", "Not now.", transient=True)
PERMANENT: Final = Failure("REPORT_TOO_LARGE", "Too many rows.", transient=False)


@pytest.mark.parametrize(
    ("outcome", "failures", "losses", "wait"),
    [
        pytest.param(TRANSIENT, 0, 0, 8, id="the first failure waits"),
        pytest.param(TRANSIENT, 1, 0, 16, id="the second waits longer"),
        pytest.param(TRANSIENT, 0, 2, 8, id="losses don't count as failures"),
        pytest.param(Lost(), 0, 0, 0, id="the first loss is tried again at once"),
        pytest.param(Lost(), 2, 0, 0, id="failures don't count as losses"),
        pytest.param(Lost(), 0, 1, 16, id="the second loss waits"),
    ],
)
def test_a_run_goes_on(outcome: Outcome, failures: int, losses: int, wait: int) -> None:
    ending = domain.ending(attempt(failures=failures, losses=losses), outcome, TOOK, POLICY)
    assert isinstance(ending.event, JobAttemptEnded)
    assert ending.ended_at == STARTED + TOOK
    assert ending.retry_at == STARTED + TOOK + timedelta(seconds=wait)
    assert ending.is_due_at_once == (wait == 0)


@pytest.mark.parametrize(
    ("outcome", "failures", "losses", "code", "retryable"),
    [
        pytest.param(PERMANENT, 0, 0, "REPORT_TOO_LARGE", False, id="permanent failure"),
        pytest.param(TRANSIENT, 2, 0, "REPORT_GENERATION_FAILED", True, id="third failure"),
        pytest.param(Lost(), 0, 2, "CRASHED", True, id="third loss"),
        pytest.param(
            Lost(LossReason.OUT_OF_MEMORY), 0, 2, "OUT_OF_MEMORY", True, id="third time too much"
        ),
    ],
)
def test_a_run_fails(
    outcome: Outcome, failures: int, losses: int, code: str, *, retryable: bool
) -> None:
    ending = domain.ending(attempt(failures=failures, losses=losses), outcome, TOOK, POLICY)
    assert isinstance(ending.event, JobFailed)
    assert (ending.event.error_code, ending.event.retryable) == (code, retryable)
    assert ending.event.request == REQUEST
    assert ending.retry_at is None
    assert not ending.is_due_at_once


def test_a_generated_report_completes_the_run() -> None:
    ending = domain.ending(attempt(failures=2, losses=2), GENERATED, TOOK, POLICY)
    assert isinstance(ending.event, JobCompleted)
    assert ending.event.artifact == GENERATED.artifact
    assert ending.artifact_path == GENERATED.artifact.path
    assert ending.event.duration_ms == 5000
    assert ending.event.started_at == STARTED
    assert ending.event.finished_at == STARTED + TOOK
    assert (ending.failures, ending.losses) == (2, 2)


def test_each_kind_of_ending_counts_for_itself() -> None:
    before = attempt(failures=1, losses=1)
    failed = domain.ending(before, TRANSIENT, TOOK, POLICY)
    lost = domain.ending(before, Lost(), TOOK, POLICY)
    released = domain.ending(before, Released(), TOOK, POLICY)
    assert [(e.failures, e.losses) for e in (failed, lost, released)] == [(2, 1), (1, 2), (1, 1)]


def test_a_released_run_can_be_claimed_at_once() -> None:
    released = domain.ending(attempt(), Released(), TOOK, POLICY)
    assert isinstance(released.event, JobAttemptEnded)
    assert released.event.outcome == "RELEASED"
    assert released.is_due_at_once


def test_an_attempt_that_isn_t_the_last_tells_its_error_too() -> None:
    lost = domain.ending(attempt(), Lost(), TOOK, POLICY).event
    failed = domain.ending(attempt(), TRANSIENT, TOOK, POLICY).event
    assert isinstance(lost, JobAttemptEnded)
    assert isinstance(failed, JobAttemptEnded)
    assert (lost.outcome, lost.error_code) == ("LOST", "CRASHED")
    assert (failed.outcome, failed.error_message) == ("FAILED", "Not now.")


def test_the_same_ending_of_the_same_attempt_is_the_same_event() -> None:
    first, again = (domain.ending(attempt(), Lost(), TOOK, POLICY).event for _ in range(2))
    later = domain.ending(attempt(attempt=2), Lost(), TOOK, POLICY).event
    assert event_id(first) == event_id(again) != event_id(later)


def test_an_unreadable_request_can_fail_but_not_complete() -> None:
    unreadable = attempt(request=None)
    failed = domain.ending(unreadable, domain.UNREADABLE, TOOK, POLICY)
    assert isinstance(failed.event, JobFailed)
    assert failed.event.request is None
    with pytest.raises(ValueError, match="unreadable"):
        domain.ending(unreadable, GENERATED, TOOK, POLICY)


def test_a_rejected_run_was_never_attempted() -> None:
    failed = domain.rejected(new_run(), "/format: is unknown", NOON)
    assert (failed.error_code, failed.error_message) == ("REQUEST_REJECTED", "/format: is unknown")
    assert (failed.attempt, failed.started_at, failed.finished_at) == (0, None, NOON)
    assert not failed.retryable


def test_a_cancelled_attempt_ends_its_run_whatever_happened_before() -> None:
    ending = domain.ending(attempt(failures=1, losses=1), Cancelled(), TOOK, POLICY)
    assert isinstance(ending.event, JobFailed)
    assert (ending.event.error_code, ending.event.retryable) == ("CANCELLED", True)
    assert (ending.failures, ending.losses) == (1, 1)


@pytest.mark.parametrize(
    ("end", "code"), [(domain.cancelled, "CANCELLED"), (domain.expired, "EXPIRED")]
)
def test_a_run_that_waits_ends_without_an_attempt(
    end: Callable[[WaitingRun, datetime], JobFailed], code: str
) -> None:
    failed = end(waiting_run(attempt=3), NOON)
    assert (failed.error_code, failed.attempt, failed.started_at) == (code, 3, None)
    assert (failed.finished_at, failed.request, failed.retryable) == (NOON, REQUEST, True)


def test_the_end_of_a_run_is_one_event_however_it_comes_about() -> None:
    ends = [
        domain.cancelled(waiting_run(attempt=0), NOON),
        domain.expired(waiting_run(attempt=2), NOON),
        domain.ending(attempt(attempt=5), Cancelled(), TOOK, POLICY).event,
    ]
    assert len({event_id(end) for end in ends}) == 1


@given(st.lists(st.none() | st.integers(0, 100), min_size=1))
def test_percent_never_goes_back(percents: list[int | None]) -> None:
    known: Progress | None = None
    for percent in percents:
        newer = domain.never_back(known, Progress(phase="query", percent=percent))
        if known is not None and known.percent is not None:
            assert newer.percent is not None
            assert newer.percent >= known.percent
        known = newer
    told = [percent for percent in percents if percent is not None]
    assert known is not None
    assert known.percent == max(told, default=None)


def test_each_report_of_progress_is_an_event_of_its_own() -> None:
    reports = [
        domain.ProgressReport(attempt(), Progress(phase="query"), TOOK, sequence)
        for sequence in (1, 2)
    ]
    first, second = (domain.progressed(report, "host/7") for report in reports)
    assert event_id(first) != event_id(second)
    assert (first.started_at, first.progressed_at) == (STARTED, STARTED + TOOK)


def test_an_attempt_tells_who_began_it_and_when() -> None:
    started = domain.started(attempt(attempt=3), "host/7")
    assert (started.attempt, started.worker, started.started_at) == (3, "host/7", STARTED)
    assert (started.tenant, started.created_at) == ("acme", NOON)


def test_no_two_attempts_write_to_one_folder() -> None:
    one = attempt()
    others = [replace(one, token=UUID(int=8)), replace(one, attempt=2), replace(one, run=2)]
    folders = {domain.artifact_folder(each) for each in (one, *others)}
    assert len(folders) == 4
    assert all(folder.startswith(f"{one.job_id}/") for folder in folders)
