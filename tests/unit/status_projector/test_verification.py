"""What counts as a difference between the log and the read model, and how it is told."""

import json
from dataclasses import replace

import pytest

from shared.events import AnyJobEvent, RequestedDateRange, RequestedReport
from status_projector.__main__ import describe
from status_projector.domain import AnyState, JobState, Status, Tombstone, Vector, fold
from status_projector.service import Verdict
from status_projector.service.verification import differing
from tests.support.job_histories import NOON, JobHistory, logged, make_job_id

JOB = make_job_id(1)
REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
    parameters={"limit": 1e300, "share": 0.1, "none": -0.0, "many": 10**25},
)


@pytest.fixture
def state() -> JobState:
    history = JobHistory(JOB, REQUEST)
    events: list[AnyJobEvent] = [history.requested(), history.completed(1), history.delivered(1)]
    state = fold(logged([*events, history.cancel_requested(1)]))[JOB]
    assert isinstance(state, JobState)
    return state


def test_equal_states_do_not_differ(state: JobState) -> None:
    assert differing({JOB: state}, {JOB: replace(state)}) == ()


def test_job_that_one_side_does_not_know_differs(state: JobState) -> None:
    assert differing({JOB: state}, {}) == (JOB,)
    assert differing({}, {JOB: state}) == (JOB,)


def test_every_group_is_compared(state: JobState) -> None:
    assert state.webhook is not None
    changed: list[AnyState] = [
        replace(state, description=replace(state.description, tenant="other")),
        replace(state, execution=replace(state.execution, status=Status.FAILED)),
        replace(state, webhook=replace(state.webhook, attempts=9)),
        replace(state, webhook=None),
        replace(state, cancellation=None),
        replace(state, history={}),
        replace(state, vector=Vector(3, 3)),
        Tombstone(job_id=JOB, tenant="default", deleted_at=NOON, vector=state.vector),
    ]

    assert [differing({JOB: state}, {JOB: other}) for other in changed] == [(JOB,)] * 8


def test_request_is_compared_by_what_its_json_says(state: JobState) -> None:
    assert state.description.request is not None
    respelled = (
        json.dumps(json.loads(state.description.request), indent=1, sort_keys=True)
        .replace("1e+300", "1" + "0" * 300)
        .replace("0.1", "0.10")
    )
    other = replace(state, description=replace(state.description, request=respelled))
    changed = replace(
        state, description=replace(state.description, request=respelled.replace("0.10", "0.11"))
    )

    assert differing({JOB: state}, {JOB: other}) == ()
    assert differing({JOB: state}, {JOB: changed}) == (JOB,)


def test_good_verdict_says_so() -> None:
    verdict = Verdict(events=8, jobs=2, differing=(), behind=0)

    assert verdict.is_good
    assert describe(verdict) == "2 jobs, 8 events; the read model is the fold of the log"


def test_no_more_than_twenty_jobs_are_named() -> None:
    ids = tuple(make_job_id(number) for number in range(25))

    told = describe(Verdict(events=8, jobs=30, differing=ids, behind=3))

    assert told.count("job_") == 20
    assert "25 differ: " in told
    assert " and 5 more; the projector is 3 records behind" in told
