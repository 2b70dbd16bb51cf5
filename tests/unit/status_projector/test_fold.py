"""The fold: what each event does to a job, and that neither order nor repetition matters."""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import (
    UNKNOWN,
    AnyJobEvent,
    AttemptOutcome,
    CancelRequested,
    RequestedDateRange,
    RequestedReport,
    WebhookEvent,
)
from status_projector.domain import (
    NOWHERE,
    AnyState,
    Cancellation,
    JobState,
    LoggedEvent,
    Status,
    Tombstone,
    Vector,
    WebhookStatus,
    fold,
    join_all,
    state_of,
)
from tests.support.job_histories import (
    NOON,
    JobHistory,
    any_event,
    any_logged,
    batched,
    living_event,
    logged,
    make_job_id,
    plausible_history,
    vectors,
)

JOB = make_job_id(1)
REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
)


@pytest.fixture
def with_callback() -> JobHistory:
    request = REQUEST.model_copy(update={"callback_url": "https://client.example.com/hook"})
    return JobHistory(JOB, request)


@pytest.fixture
def history() -> JobHistory:
    return JobHistory(JOB, REQUEST)


def digests(states: Mapping[str, AnyState]) -> dict[str, tuple[int, int, int | None]]:
    """What the store compares besides the versions has to come out the same as well."""
    return {
        job_id: (
            state.description.digest,
            state.execution.digest,
            state.webhook.digest if state.webhook else None,
        )
        for job_id, state in states.items()
        if isinstance(state, JobState)
    }


def living(event: AnyJobEvent, vector: Vector = NOWHERE) -> JobState:
    state = state_of(event, vector)
    assert isinstance(state, JobState)
    return state


def only(events: Iterable[AnyJobEvent]) -> JobState:
    (state,) = fold((event, NOWHERE) for event in events).values()
    assert isinstance(state, JobState)
    return state


def facts(state: JobState) -> list[dict[str, Any]]:
    return sorted((json.loads(fact) for fact in state.history.values()), key=lambda f: f["at"])


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

    @pytest.mark.parametrize("end", ["completed", "failed"])
    def test_webhook_is_pending_from_the_end_of_its_run(
        self, with_callback: JobHistory, end: str
    ) -> None:
        ended = getattr(with_callback, end)(1)

        state = only([ended])

        assert state.webhook is not None
        assert state.webhook.status is WebhookStatus.PENDING
        assert state.webhook.attempts == 0
        assert state.webhook.updated_at == ended.finished_at
        assert facts(state)[0]["webhook"] == "PENDING"

    def test_pending_webhook_gives_way_to_what_became_of_it(
        self, with_callback: JobHistory
    ) -> None:
        ended, exhausted = with_callback.completed(1), with_callback.exhausted(1)

        assert only([ended, exhausted]).webhook == only([exhausted]).webhook

    def test_webhook_of_a_new_end_is_pending_whatever_became_of_the_one_before(
        self, with_callback: JobHistory
    ) -> None:
        state = only([with_callback.delivered(1), with_callback.failed(2)])

        assert state.webhook is not None
        assert state.webhook.status is WebhookStatus.PENDING

    def test_end_without_a_callback_url_has_no_webhook(self, history: JobHistory) -> None:
        for ended in (history.completed(1), history.failed(1)):
            state = only([ended])

            assert state.webhook is None
            assert "webhook" not in facts(state)[0]

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

        states = fold(logged([history.requested(), other.failed(1)]))

        assert states == {
            JOB: living(history.requested(), Vector(1, 1)),
            make_job_id(2): living(other.failed(1), Vector(2, 2)),
        }

    def test_states_of_two_jobs_cannot_be_joined(self, history: JobHistory) -> None:
        other = JobHistory(make_job_id(2), REQUEST)

        with pytest.raises(ValueError, match="two jobs"):
            state_of(history.requested()).join(state_of(other.requested()))

    @given(event=any_event)
    def test_every_event_type_has_a_state(self, event: AnyJobEvent) -> None:
        assert type(event) in get_args(AnyJobEvent)
        assert state_of(event).job_id == event.job_id

    def test_progress_shows_while_the_attempt_goes_on(self, history: JobHistory) -> None:
        progressed = history.progressed(1, 7)

        state = only([progressed, history.progressed(1, 6), history.started(1)])

        assert state.execution.status is Status.RUNNING
        assert state.execution.started_at == progressed.started_at
        assert state.execution.updated_at == progressed.progressed_at
        assert state.execution.progress_phase == "query"
        assert state.execution.progress_percent == 7
        assert (state.execution.rows_processed, state.execution.rows_total) == (7, 100)

    def test_progress_ends_with_its_attempt(self, history: JobHistory) -> None:
        ended = history.attempt_ended(1, AttemptOutcome.LOST)

        state = only([ended, history.progressed(1, 7)])

        assert state.execution == only([ended]).execution
        assert state.execution.progress_percent is None

    def test_retried_job_is_pending_without_the_error_of_its_last_run(
        self, history: JobHistory
    ) -> None:
        retried = history.retry_requested(2)

        state = only([history.failed(1), retried])

        assert state.execution.status is Status.PENDING
        assert state.execution.version == (2, 0, 0, 0, 0)
        assert state.execution.updated_at == retried.requested_at
        assert state.execution.error_code is None

    def test_cancel_request_is_noted_and_changes_nothing_else(self, history: JobHistory) -> None:
        cancelled = history.cancel_requested(1)

        state = only([cancelled, history.requested(), history.started(1)])

        assert state.cancellation == Cancellation(1, cancelled.requested_at)
        assert state.execution == only([history.started(1)]).execution

    def test_cancel_request_of_a_later_run_replaces_that_of_an_earlier_one(
        self, history: JobHistory
    ) -> None:
        later = history.cancel_requested(2)
        history.attempt = 9

        assert only([later, history.cancel_requested(1)]).cancellation == Cancellation(
            2, later.requested_at
        )

    def test_nothing_of_a_deleted_job_is_left_but_whose_it_was(self, history: JobHistory) -> None:
        deleted = history.delete_requested(1)

        states = fold(
            logged([history.requested(), deleted, history.completed(1), history.delivered(1)])
        )

        assert states == {
            JOB: Tombstone(
                job_id=JOB, tenant="default", deleted_at=deleted.requested_at, vector=Vector(4, 4)
            )
        }

    def test_first_of_two_deletions_counts(self, history: JobHistory) -> None:
        first = history.delete_requested(1)
        history.attempt = 5

        (state,) = fold(logged([history.delete_requested(1), first])).values()

        assert isinstance(state, Tombstone)
        assert state.deleted_at == first.requested_at


class TestHistory:
    def test_tells_of_runs_attempts_and_webhooks(self, history: JobHistory) -> None:
        events: list[AnyJobEvent] = [history.requested(), history.started(1)]
        events.append(history.attempt_ended(1, AttemptOutcome.FAILED))
        history.attempt = 2
        events += [history.started(1), history.progressed(1, 1), history.cancel_requested(1)]
        events += [history.failed(1), history.exhausted(1)]
        history.attempt = 3
        events += [history.retry_requested(2), history.completed(2), history.delivered(2)]

        at = {n: f"2026-03-01T12:00:0{n}.000000Z" for n in range(4)}
        error = {
            "errorCode": "SOURCE_UNAVAILABLE",
            "errorMessage": "The data source doesn't answer.",
        }
        attempt = {"event": "JobAttemptEnded", "run": 1, "attempt": 1, "outcome": "FAILED"}
        times = {"at": at[1], "startedAt": at[1], "retryAt": at[1]}
        failed = {"event": "JobFailed", "run": 1, "attempt": 2, "at": at[2], "startedAt": at[2]}
        completed = {"event": "JobCompleted", "run": 2, "attempt": 3, "startedAt": at[3]}
        assert facts(only(events)) == [
            {"event": "ReportRequested", "run": 1, "at": at[0]},
            {"event": "JobStarted", "run": 1, "attempt": 1, "at": at[1], "worker": "worker"},
            attempt | times | error,
            {"event": "JobStarted", "run": 1, "attempt": 2, "at": at[2], "worker": "worker"},
            {"event": "CancelRequested", "run": 1, "at": at[2]},
            failed | error | {"errorCode": "REPORT_GENERATION_FAILED"},
            {"event": "WebhookExhausted", "run": 1, "attempts": 9, "at": at[2]}
            | {"reason": "status_500"},
            {"event": "RetryRequested", "run": 2, "at": at[3]},
            completed | {"at": at[3]},
            {"event": "WebhookDelivered", "run": 2, "attempts": 2, "at": at[3]},
        ]

    def test_run_that_ended_without_an_attempt_has_no_start(self, history: JobHistory) -> None:
        failed = history.failed(1).model_copy(update={"started_at": None})

        (fact,) = facts(only([failed]))

        assert "startedAt" not in fact

    def test_long_messages_are_cut_off(self, history: JobHistory) -> None:
        failed = history.failed(1).model_copy(update={"error_message": "x" * 10_000})

        (fact,) = facts(only([failed]))

        assert fact["errorMessage"] == "x" * 500

    @given(events=st.lists(living_event, max_size=8))
    def test_is_the_union_of_what_happened(self, events: list[AnyJobEvent]) -> None:
        events = [event.model_copy(update={"job_id": JOB}) for event in events]

        facts_of_each = [set(only([event]).history.items()) for event in events]

        if events:
            assert set(only(events).history.items()) == set().union(*facts_of_each)


class TestJoin:
    @given(one=any_event, other=any_event, places=st.tuples(vectors, vectors))
    def test_is_commutative(
        self, one: AnyJobEvent, other: AnyJobEvent, places: tuple[Vector, Vector]
    ) -> None:
        other = other.model_copy(update={"job_id": one.job_id})
        a, b = state_of(one, places[0]), state_of(other, places[1])

        assert a.join(b) == b.join(a)
        assert digests({"": a.join(b)}) == digests({"": b.join(a)})

    @given(events=st.tuples(any_event, any_event, any_event), vector=vectors)
    def test_is_associative(
        self, events: tuple[AnyJobEvent, AnyJobEvent, AnyJobEvent], vector: Vector
    ) -> None:
        a, b, c = (state_of(e.model_copy(update={"job_id": JOB}), vector) for e in events)

        assert a.join(b).join(c) == a.join(b.join(c))

    @given(event=any_event, vector=vectors)
    def test_is_idempotent(self, event: AnyJobEvent, vector: Vector) -> None:
        state = state_of(event, vector)

        assert state.join(state_of(event, vector)) == state

    @given(events=st.lists(any_event, min_size=1), later=vectors)
    def test_deletion_absorbs_all_that_was_and_will_be(
        self, events: list[AnyJobEvent], later: Vector
    ) -> None:
        deleted = JobHistory(JOB, REQUEST).delete_requested(1)
        deleted = deleted.model_copy(update={"requested_at": NOON - timedelta(days=1)})
        events = [event.model_copy(update={"job_id": JOB}) for event in events]
        tombstone = state_of(deleted)

        for event in events:
            tombstone = tombstone.join(state_of(event, later))

        assert isinstance(tombstone, Tombstone)
        assert tombstone == state_of(deleted, later)

    @given(one=living_event, other=living_event)
    def test_two_events_of_one_version_are_decided_by_their_content(
        self, one: AnyJobEvent, other: AnyJobEvent
    ) -> None:
        a = living(one).execution
        b = living(other).execution

        if a.version == b.version and a.digest == b.digest:
            assert a == b

    def test_moment_spelled_in_another_zone_is_the_same_state(self, history: JobHistory) -> None:
        started = history.started(1)
        elsewhere = type(started).model_validate_json(
            started.model_dump_json().replace("12:00:01Z", "14:00:01+02:00")
        )

        assert living(elsewhere).execution.digest == living(started).execution.digest
        assert living(elsewhere).history == living(started).history


class TestFold:
    @given(data=st.data(), events=any_logged)
    def test_of_any_events_ignores_order_repetition_and_batching(
        self, data: st.DataObject, events: list[LoggedEvent]
    ) -> None:
        batches = data.draw(batched(events))

        states: dict[str, AnyState] = {}
        for batch in batches:
            join_all(states, batch)

        assert states == fold(events)
        assert digests(states) == digests(fold(events))

    @given(data=st.data(), events=plausible_history(JOB))
    def test_of_a_history_shows_its_last_execution_event_in_any_order(
        self, data: st.DataObject, events: list[AnyJobEvent]
    ) -> None:
        states: dict[str, AnyState] = {}
        for batch in data.draw(batched(logged(events))):
            join_all(states, batch)

        shown = states[JOB]
        assert isinstance(shown, JobState)
        executions = [
            living(event).execution
            for event in events
            if not isinstance(event, CancelRequested | WebhookEvent)
        ]
        assert shown.execution == executions[-1]
        assert shown.vector == Vector(len(events), len(events))

    @given(events=any_logged, later=any_logged)
    def test_never_goes_back(self, events: list[LoggedEvent], later: list[LoggedEvent]) -> None:
        before, after = fold(events), fold([*events, *later])

        for job_id, state in before.items():
            known = after[job_id]
            assert known.vector == known.vector.join(state.vector)
            if isinstance(known, JobState) and isinstance(state, JobState):
                assert known.execution.version >= state.execution.version
                assert known.description.version >= state.description.version
                assert known.history.items() >= state.history.items()
            else:
                assert isinstance(known, Tombstone)
