"""The fold: what each event does to a job, and that neither order nor repetition matters."""

import functools
from collections.abc import Iterable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import (
    UNKNOWN,
    AnyJobEvent,
    AttemptOutcome,
    RequestedDateRange,
    RequestedReport,
)
from status_projector.domain import JobState, Status, WebhookStatus, fold, join_all, state_of
from tests.support.job_histories import (
    NOON,
    JobHistory,
    any_event,
    any_events,
    batched,
    make_job_id,
    plausible_history,
)

JOB = make_job_id(1)
REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
)


@pytest.fixture
def history() -> JobHistory:
    return JobHistory(JOB, REQUEST)


def digests(states: dict[str, JobState]) -> dict[str, tuple[int, int, int | None]]:
    """What the store compares besides the versions has to come out the same as well."""
    return {
        job_id: (
            state.description.digest,
            state.execution.digest,
            state.webhook.digest if state.webhook else None,
        )
        for job_id, state in states.items()
    }


def only(events: Iterable[AnyJobEvent]) -> JobState:
    (state,) = fold(events).values()
    return state


class TestWhatEventsMean:
    def test_requested_job_is_pending_since_its_creation(self, history: JobHistory) -> None:
        state = only([history.requested()])

        assert state.execution.status is Status.PENDING
        assert state.execution.version == (1, 0, 0, 0, 0)
        assert state.execution.updated_at == NOON
        assert state.description.request == REQUEST.model_dump_json(by_alias=True)
        assert state.webhook is None

    def test_started_attempt_makes_the_job_running(self, history: JobHistory) -> None:
        started = history.started(1)

        state = only([history.requested(), started])

        assert state.execution.status is Status.RUNNING
        assert state.execution.started_at == started.started_at

    @pytest.mark.parametrize("outcome", AttemptOutcome)
    def test_run_that_goes_on_after_an_attempt_is_pending_without_an_error(
        self, history: JobHistory, outcome: AttemptOutcome
    ) -> None:
        state = only([history.requested(), history.started(1), history.attempt_ended(1, outcome)])

        assert state.execution.status is Status.PENDING
        assert state.execution.started_at is None
        assert state.execution.error_code is None
        assert state.execution.error_message is None

    def test_completed_run_shows_its_artifact(self, history: JobHistory) -> None:
        completed = history.completed(1)

        state = only([history.requested(), history.started(1), completed])

        assert state.execution.status is Status.COMPLETED
        assert state.execution.artifact_path == completed.artifact.path
        assert state.execution.byte_count == completed.artifact.byte_count
        assert state.execution.row_count == 10
        assert state.execution.finished_at == completed.finished_at

    def test_failed_run_shows_its_error(self, history: JobHistory) -> None:
        state = only([history.requested(), history.failed(1)])

        assert state.execution.status is Status.FAILED
        assert state.execution.error_code == "REPORT_GENERATION_FAILED"
        assert state.execution.retryable is True

    def test_later_run_replaces_the_error_of_an_earlier_one(self, history: JobHistory) -> None:
        failed = history.failed(1)
        history.attempt = 2
        completed = history.completed(2)

        state = only([completed, failed])

        assert state.execution.status is Status.COMPLETED
        assert state.execution.error_code is None

    def test_late_start_does_not_reopen_an_ended_run(self, history: JobHistory) -> None:
        state = only([history.completed(1), history.started(1), history.requested()])

        assert state.execution.status is Status.COMPLETED

    def test_run_has_ended_even_where_the_log_knows_later_attempts(
        self, history: JobHistory
    ) -> None:
        """A worker whose database was put back counts its attempts again from the beginning."""
        completed = history.completed(1)
        history.attempt = 5
        forgotten: list[AnyJobEvent] = [
            history.started(1),
            history.attempt_ended(1, AttemptOutcome.FAILED),
        ]

        state = only([completed, *forgotten])

        assert state.execution == only([completed]).execution

    def test_webhook_alone_leaves_the_job_pending(self, history: JobHistory) -> None:
        state = only([history.delivered(1)])

        assert state.execution == only([history.requested()]).execution
        assert state.webhook is not None
        assert state.webhook.status is WebhookStatus.DELIVERED
        assert state.webhook.attempts == 2

    def test_delivered_webhook_is_not_overruled_by_exhaustion(self, history: JobHistory) -> None:
        state = only([history.delivered(1), history.exhausted(1)])

        assert state.webhook is not None
        assert state.webhook.status is WebhookStatus.DELIVERED

    def test_webhook_of_a_later_run_replaces_that_of_an_earlier_one(
        self, history: JobHistory
    ) -> None:
        state = only([history.delivered(1), history.exhausted(2)])

        assert state.webhook is not None
        assert state.webhook.status is WebhookStatus.EXHAUSTED

    def test_unreadable_description_gives_way_to_one_that_names_the_report(
        self, history: JobHistory
    ) -> None:
        unreadable = history.failed(1).model_copy(
            update={"request": None, "report_type": UNKNOWN, "format": UNKNOWN}
        )

        state = only([unreadable, history.started(1)])

        assert state.description.report_type == "ORDERS_SUMMARY"
        assert state.execution.status is Status.FAILED

    def test_jobs_are_kept_apart(self, history: JobHistory) -> None:
        other = JobHistory(make_job_id(2), REQUEST)

        states = fold([history.requested(), other.failed(1)])

        assert states[JOB].execution.status is Status.PENDING
        assert states[make_job_id(2)].execution.status is Status.FAILED

    def test_states_of_two_jobs_cannot_be_joined(self, history: JobHistory) -> None:
        other = JobHistory(make_job_id(2), REQUEST)

        with pytest.raises(ValueError, match="two jobs"):
            state_of(history.requested()).join(state_of(other.requested()))

    @given(event=any_event)
    def test_every_event_type_has_a_state(self, event: AnyJobEvent) -> None:
        assert type(event) in get_args(AnyJobEvent)
        assert state_of(event).job_id == event.job_id


class TestJoin:
    @given(one=any_event, other=any_event)
    def test_is_commutative(self, one: AnyJobEvent, other: AnyJobEvent) -> None:
        other = other.model_copy(update={"job_id": one.job_id})
        a, b = state_of(one), state_of(other)

        assert a.join(b) == b.join(a)
        assert digests({"": a.join(b)}) == digests({"": b.join(a)})

    @given(events=st.tuples(any_event, any_event, any_event))
    def test_is_associative(self, events: tuple[AnyJobEvent, AnyJobEvent, AnyJobEvent]) -> None:
        a, b, c = (state_of(e.model_copy(update={"job_id": JOB})) for e in events)

        assert a.join(b).join(c) == a.join(b.join(c))

    @given(event=any_event)
    def test_is_idempotent(self, event: AnyJobEvent) -> None:
        state = state_of(event)

        assert state.join(state_of(event)) == state

    @given(one=any_event, other=any_event)
    def test_two_events_of_one_version_are_decided_by_their_content(
        self, one: AnyJobEvent, other: AnyJobEvent
    ) -> None:
        a = state_of(one).execution
        b = state_of(other).execution

        if a.version == b.version and a.digest == b.digest:
            assert a == b

    def test_moment_spelled_in_another_zone_is_the_same_state(self, history: JobHistory) -> None:
        started = history.started(1)
        elsewhere = type(started).model_validate_json(
            started.model_dump_json().replace("12:00:01Z", "14:00:01+02:00")
        )

        assert elsewhere.started_at.utcoffset() != started.started_at.utcoffset()
        assert state_of(elsewhere).execution.digest == state_of(started).execution.digest


class TestFold:
    @given(data=st.data(), events=any_events)
    def test_of_any_events_ignores_order_repetition_and_batching(
        self, data: st.DataObject, events: list[AnyJobEvent]
    ) -> None:
        batches = data.draw(batched(events))

        states: dict[str, JobState] = functools.reduce(join_all, batches, {})

        assert states == fold(events)
        assert digests(states) == digests(fold(events))

    @given(data=st.data(), events=plausible_history(JOB))
    def test_of_a_history_shows_its_last_execution_event_in_any_order(
        self, data: st.DataObject, events: list[AnyJobEvent]
    ) -> None:
        batches = data.draw(batched(events))

        states: dict[str, JobState] = functools.reduce(join_all, batches, {})

        executions = [s.execution for s in map(state_of, events) if s.webhook is None]
        assert states[JOB].execution == executions[-1]

    @given(events=any_events, later=any_events)
    def test_never_goes_back(self, events: list[AnyJobEvent], later: list[AnyJobEvent]) -> None:
        before, after = fold(events), fold([*events, *later])

        for job_id, state in before.items():
            assert after[job_id].execution.version >= state.execution.version
            assert after[job_id].description.version >= state.description.version
