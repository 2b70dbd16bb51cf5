"""Runs that clients retry, cancel and delete, and runs that wait too long, on a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from report_worker import domain, store
from report_worker.domain import (
    Attempt,
    Cancellation,
    Cancelled,
    Deletion,
    Failure,
    Lost,
    Rejection,
    Released,
    Request,
)
from report_worker.service import Renewal, Retention
from shared import job_id
from tests.integration.report_worker.queue_bench import QueueBench
from tests.support.report_runs import GENERATED, NOON, POLICY, REQUEST, new_run

TRANSIENT = Failure("REPORT_GENERATION_FAILED", "Not now.", transient=True)
JOB = new_run().job_id
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


async def started(runs: QueueBench) -> Attempt:
    """Take in a run and begin it."""
    (attempt,) = await runs.take_in(new_run(), free_slots=1)
    return attempt


async def failed(runs: QueueBench) -> None:
    """Let the first run of a job fail for good."""
    failure = Failure("REPORT_GENERATION_FAILED", "Never.", transient=False)
    await runs.finish(await started(runs), failure)


async def test_a_run_that_waits_ends_at_once(runs: QueueBench) -> None:
    await runs.take_in(new_run())
    await runs.take_in(Cancellation(JOB, 1))
    assert await runs.states() == {"ended": 1}
    (event,) = await runs.failures()
    assert (event.error_code, event.attempt, event.started_at) == ("CANCELLED", 0, None)
    assert event.request == REQUEST
    assert await runs.queue().claim(free_slots=1) == []


async def test_a_run_that_waits_for_another_attempt_ends_after_the_one_before(
    runs: QueueBench,
) -> None:
    await runs.finish(await started(runs), TRANSIENT)
    await runs.take_in(Cancellation(JOB, 1))
    (event,) = await runs.failures()
    assert (event.attempt, event.started_at) == (1, None)


async def test_a_request_and_its_cancellation_can_come_in_one_batch(runs: QueueBench) -> None:
    assert await runs.take_in(new_run(), Cancellation(JOB, 1), free_slots=1) == []
    assert await runs.stored_events() == ["JobFailed"]


async def test_a_running_attempt_is_reported_to_its_worker_and_ends_once(runs: QueueBench) -> None:
    attempt = await started(runs)
    await runs.take_in(Cancellation(JOB, 1))
    assert await runs.states() == {"running": 1}
    assert await runs.queue().renew([attempt]) == Renewal(cancelled=[attempt])
    await runs.finish(attempt, Cancelled())
    await runs.finish(attempt, GENERATED)
    assert await runs.stored_events() == ["JobFailed", "JobStarted"]
    (event,) = await runs.failures()
    assert (event.error_code, event.started_at) == ("CANCELLED", attempt.started_at)


async def test_a_report_that_was_completed_first_stands(runs: QueueBench) -> None:
    attempt = await started(runs)
    await runs.take_in(Cancellation(JOB, 1))
    await runs.finish(attempt, GENERATED)
    await runs.finish(attempt, Cancelled())
    assert await runs.stored_events() == ["JobCompleted", "JobStarted"]


@pytest.mark.parametrize("outcome", [TRANSIENT, Lost(), Released()])
async def test_a_cancelled_run_is_not_attempted_again(
    runs: QueueBench, outcome: Failure | Lost | Released
) -> None:
    attempt = await started(runs)
    await runs.take_in(Cancellation(JOB, 1))
    await runs.finish(attempt, outcome)
    assert await runs.states() == {"ended": 1}
    (event,) = await runs.failures()
    assert event.error_code == "CANCELLED"


async def test_a_cancelled_run_whose_worker_died_is_ended_by_the_reaper(runs: QueueBench) -> None:
    await started(runs)
    await runs.take_in(Cancellation(JOB, 1))
    await runs.expire_leases()
    await runs.queue().reap()
    (event,) = await runs.failures()
    assert event.error_code == "CANCELLED"


async def test_a_late_cancel_for_an_earlier_run_changes_nothing(runs: QueueBench) -> None:
    await failed(runs)
    (second,) = await runs.take_in(new_run(run=2), Cancellation(JOB, 1), free_slots=1)
    await runs.take_in(Cancellation(JOB, 1))
    assert await runs.queue().renew([second]) == Renewal()


async def test_cancelling_again_or_an_unknown_job_changes_nothing(runs: QueueBench) -> None:
    await runs.take_in(new_run(), Cancellation(JOB, 1))
    await runs.take_in(Cancellation(JOB, 1), Cancellation(new_run(2).job_id, 1))
    assert await runs.stored_events() == ["JobFailed"]
    assert await runs.states() == {"ended": 1}


async def test_cancel_and_completion_at_the_same_moment_have_one_winner(runs: QueueBench) -> None:
    attempts = await runs.take_in(*(new_run(n) for n in range(20)), free_slots=20)
    await asyncio.gather(
        *(runs.finish(attempt, GENERATED) for attempt in attempts[:10]),
        runs.take_in(*(Cancellation(attempt.job_id, 1) for attempt in attempts)),
        *(runs.finish(attempt, TRANSIENT) for attempt in attempts[10:]),
    )
    for attempt in attempts:
        await runs.finish(attempt, Cancelled())
        await runs.take_in(Cancellation(attempt.job_id, 1))
    assert await runs.states() == {"ended": 20}
    events = await runs.stored_events()
    assert events.count("JobCompleted") == 10
    assert events.count("JobFailed") == 10


async def test_a_later_run_starts_once_and_goes_on_counting_attempts(runs: QueueBench) -> None:
    await failed(runs)
    (second,) = await runs.take_in(new_run(run=2), new_run(run=2), free_slots=2)
    assert (second.run, second.attempt) == (2, 2)
    assert await runs.take_in(new_run(run=2), free_slots=1) == []
    assert await runs.states() == {"running": 1, "ended": 1}


async def test_a_run_below_the_newest_is_not_taken_in(runs: QueueBench) -> None:
    await runs.take_in(new_run(run=3))
    await runs.take_in(new_run(run=2))
    assert await runs.states() == {"queued": 1}


async def test_a_run_that_can_t_be_executed_any_more_is_rejected(runs: QueueBench) -> None:
    await failed(runs)
    await runs.take_in(Rejection(new_run(run=2), "/reportType: is unknown"))
    assert [event.error_code for event in await runs.failures()] == [
        "REPORT_GENERATION_FAILED",
        "REQUEST_REJECTED",
    ]


async def test_a_retry_tells_a_database_that_went_back_that_the_run_before_has_ended(
    runs: QueueBench,
) -> None:
    first = await started(runs)
    (second,) = await runs.take_in(new_run(run=2), free_slots=1)
    assert (second.run, second.attempt) == (2, 2)
    assert await runs.queue().renew([first, second]) == Renewal(taken_away=[first])
    await runs.finish(first, GENERATED)
    assert await runs.stored_events() == ["JobStarted", "JobStarted"]


async def test_a_run_that_waits_ends_as_if_cancelled_and_its_request_is_forgotten(
    runs: QueueBench,
) -> None:
    await runs.take_in(new_run())
    await runs.take_in(Deletion(new_run()))
    (event,) = await runs.failures()
    assert event.error_code == "CANCELLED"
    assert await runs.tombstones() == [(JOB, 1)]


async def test_a_running_attempt_is_stopped_as_if_cancelled(runs: QueueBench) -> None:
    attempt = await started(runs)
    await runs.take_in(Deletion(new_run()))
    assert await runs.queue().renew([attempt]) == Renewal(cancelled=[attempt])
    await runs.finish(attempt, Cancelled())
    assert await runs.tombstones() == [(JOB, 1)]
    (event,) = await runs.failures()
    assert event.error_code == "CANCELLED"


async def test_every_run_of_the_job_is_forgotten(runs: QueueBench) -> None:
    await failed(runs)
    await runs.finish((await runs.take_in(new_run(run=2), free_slots=1))[0], GENERATED)
    await runs.take_in(Deletion(new_run(run=2)))
    assert await runs.tombstones() == [(JOB, 1), (JOB, 2)]


async def test_nothing_brings_a_deleted_job_back(runs: QueueBench) -> None:
    log: list[Request] = [new_run(), Cancellation(JOB, 1), new_run(run=2), Deletion(new_run(run=2))]
    await runs.take_in(*log)
    before = await runs.stored_events()
    await runs.take_in(*log, new_run(run=3))
    for request in (*log, new_run(run=3)):
        await runs.take_in(request, free_slots=1)
    assert await runs.states() == {"ended": 2}
    assert await runs.stored_events() == before


async def test_a_job_that_was_never_heard_of_gets_a_tombstone_too(runs: QueueBench) -> None:
    await runs.take_in(Deletion(new_run()))
    assert await runs.take_in(new_run(), new_run(run=2), free_slots=1) == []
    assert await runs.tombstones() == [(JOB, 1)]
    assert await runs.stored_events() == []


async def test_a_run_that_nobody_began_in_time_expires(runs: QueueBench) -> None:
    await runs.take_in(new_run(1, start_by=LONG_AGO), new_run(2))
    await runs.queue().expire()
    await runs.queue().expire()
    assert await runs.states() == {"ended": 1, "queued": 1}
    (event,) = await runs.failures()
    assert (event.error_code, event.attempt, event.started_at) == ("EXPIRED", 0, None)
    assert event.request == REQUEST
    assert event.retryable


async def test_it_is_not_claimed_in_the_moment_before_it_expires(runs: QueueBench) -> None:
    (attempt,) = await runs.take_in(new_run(1, start_by=LONG_AGO), new_run(2), free_slots=2)
    assert attempt.job_id == new_run(2).job_id


async def test_a_run_that_was_attempted_never_expires(runs: QueueBench) -> None:
    await runs.finish(await started(runs), TRANSIENT)
    await runs.execute("UPDATE runs SET start_by = now() - interval '1 hour', run_at = now()")
    await runs.queue().expire()
    assert len(await runs.queue().claim(free_slots=1)) == 1


async def test_expiry_and_its_event_are_stored_together(runs: QueueBench) -> None:
    await runs.take_in(*(new_run(n, start_by=LONG_AGO) for n in range(50)))
    await asyncio.gather(*(runs.queue().expire() for _ in range(3)))
    assert await runs.states() == {"ended": 50}
    assert await runs.stored_events() == ["JobFailed"] * 50


async def test_runs_are_purged_a_while_after_their_reports_expired(runs: QueueBench) -> None:
    retention = timedelta(days=7)
    old, young = (
        new_run(job_id=job_id.earliest(NOON - age))
        for age in (timedelta(days=8, seconds=1), timedelta(days=7))
    )
    await runs.take_in(old, young)
    purging = Retention(runs.database, retention, clock=lambda: NOON)
    assert [await purging.purge(), await purging.purge()] == [1, 0]
    (left,) = await runs.queue().claim(free_slots=2)
    assert left.job_id == young.job_id


async def test_an_attempt_whose_run_was_purged_is_taken_away(runs: QueueBench) -> None:
    attempt = await started(runs)
    await Retention(runs.database, timedelta(days=7), clock=lambda: NOON).purge()
    assert await runs.queue().renew([attempt]) == Renewal(taken_away=[attempt])


async def test_what_the_sweeper_of_artifacts_needs_stays_in_the_row(runs: QueueBench) -> None:
    attempt = await started(runs)
    await runs.finish(attempt, GENERATED)
    async with runs.database.connection() as conn:
        row = await conn.fetchrow("SELECT artifact_path, deleted_at, request FROM runs")
        assert row is not None
        assert tuple(row) == (GENERATED.artifact.path, None, None)


async def test_a_cancelled_ending_locks_rows_in_one_order(runs: QueueBench) -> None:
    """Two transactions that want the same rows, each in its own order, don't deadlock."""
    attempts = await runs.take_in(*(new_run(n) for n in range(2)), free_slots=2)
    endings = [
        domain.ending(one, Cancelled(), timedelta(seconds=1), POLICY) for one in reversed(attempts)
    ]
    async with runs.database.transaction() as conn:
        await store.lock(conn, [(attempts[0].job_id, 1)])
        finishing = asyncio.create_task(runs.queue().finish(endings, free_slots=0))
        await runs.is_waiting_for_a_lock()
        await store.lock(conn, [(attempts[1].job_id, 1)])
    await finishing
    assert await runs.states() == {"ended": 2}
