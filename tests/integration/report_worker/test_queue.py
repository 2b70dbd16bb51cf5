"""The queue on a real PostgreSQL: intake, fair claims, leases, and who wins a race for a row."""

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from report_worker import domain, store
from report_worker.domain import (
    Attempt,
    Cancellation,
    Deletion,
    Failure,
    Lost,
    ProgressReport,
    Rejection,
    Released,
)
from report_worker.service import Intake, Renewal
from shared.database.pool import Connection
from shared.events import Progress
from tests.integration.report_worker.queue_bench import QueueBench
from tests.support.report_runs import GENERATED, POLICY, new_run

TRANSIENT = Failure("REPORT_GENERATION_FAILED", "Not now.", transient=True)
PERMANENT = Failure("REPORT_GENERATION_FAILED", "Never.", transient=False)


def tenants(attempts: Iterable[Attempt]) -> list[str]:
    return [attempt.tenant for attempt in attempts]


async def test_a_run_is_taken_in_once(runs: QueueBench) -> None:
    await runs.take_in(new_run(1), new_run(1))
    await runs.take_in(new_run(1), new_run(2))
    assert await runs.states() == {"queued": 2}


async def test_a_run_that_ended_is_not_taken_in_again(runs: QueueBench) -> None:
    (attempt,) = await runs.take_in(new_run(), free_slots=1)
    await runs.finish(attempt, GENERATED)
    assert await runs.take_in(new_run(), free_slots=1) == []
    assert await runs.states() == {"ended": 1}


async def test_intake_begins_what_there_are_slots_for(runs: QueueBench) -> None:
    attempts = await runs.take_in(*(new_run(number) for number in range(5)), free_slots=2)
    assert len(attempts) == 2
    assert await runs.states() == {"queued": 3, "running": 2}
    assert await runs.stored_events() == ["JobStarted", "JobStarted"]


async def test_a_rejected_run_ends_at_once_and_once(runs: QueueBench) -> None:
    rejection = Rejection(new_run(), "/reportType: is unknown")
    await runs.take_in(rejection, rejection)
    await runs.take_in(rejection)
    await runs.take_in(new_run(), free_slots=1)
    assert await runs.states() == {"ended": 1}
    assert await runs.stored_events() == ["JobFailed"]


async def test_a_later_run_goes_on_counting_attempts(runs: QueueBench) -> None:
    (first,) = await runs.take_in(new_run(), free_slots=1)
    await runs.finish(first, PERMANENT)
    (second,) = await runs.take_in(new_run(run=2), free_slots=1)
    assert (first.attempt, second.attempt) == (1, 2)


async def test_a_tenant_with_a_long_queue_does_not_keep_another_waiting(runs: QueueBench) -> None:
    queue = runs.queue()
    await runs.take_in(*(new_run(number, tenant="many") for number in range(5000)))
    assert tenants(await queue.claim(free_slots=2)) == ["many", "many"]
    await runs.take_in(new_run(5001, tenant="few"))
    assert tenants(await queue.claim(free_slots=1)) == ["few"]
    assert tenants(await queue.claim(free_slots=1)) == ["many"]


async def test_a_claim_costs_the_same_however_many_jobs_one_tenant_has_queued(
    runs: QueueBench,
) -> None:
    await runs.take_in(*(new_run(number, tenant="many") for number in range(1000)))
    few = await runs.rows_read_by_a_claim()
    await runs.take_in(*(new_run(number, tenant="many") for number in range(1000, 10_000)))
    assert await runs.rows_read_by_a_claim() == few
    assert await runs.sequential_scans_by_a_claim() == []


async def test_a_queue_that_was_empty_when_its_statements_were_planned_is_read_by_index(
    runs: QueueBench,
) -> None:
    await runs.until_alone()
    for number in range(10):
        await each_statement(runs, number)
    await runs.take_in(*(new_run(number, tenant="many") for number in range(1000, 6000)))
    before = await runs.rows_read_as_a_whole()
    await each_statement(runs, 10)
    assert await runs.rows_read_as_a_whole() == before


async def each_statement(runs: QueueBench, number: int) -> None:
    """Do all that is done to runs but for the counting of all of them."""
    queue = runs.queue()
    first, second, third = (new_run(3 * number + n) for n in range(3))
    begun = await queue.take_in(Intake({}, [first, second, third]), free_slots=2)
    await queue.renew(begun)
    for request in (Cancellation(first.job_id, 1), Deletion(second), Cancellation(third.job_id, 1)):
        await queue.take_in(Intake({}, [request]), free_slots=0)
    endings = [domain.ending(one, GENERATED, timedelta(seconds=1), POLICY) for one in begun]
    for attempt in await queue.finish(endings, free_slots=1):
        await runs.finish(attempt, PERMANENT)
        await queue.take_in(Intake({}, [new_run(3 * number, run=2)]), free_slots=0)
    await queue.reap()
    await queue.expire()


async def test_a_tenant_has_no_more_running_than_its_limit(runs: QueueBench) -> None:
    names = ["many"] * 20 + ["few"]
    await runs.take_in(*(new_run(number, tenant=name) for number, name in enumerate(names)))
    queue = runs.queue(tenant_limit=3)
    attempts = await queue.claim(free_slots=10)
    assert sorted(tenants(attempts)) == ["few", "many", "many", "many"]
    assert await queue.claim(free_slots=10) == []
    first = next(attempt for attempt in attempts if attempt.tenant == "many")
    await runs.finish(first, GENERATED)
    assert tenants(await queue.claim(free_slots=10)) == ["many"]


async def test_a_tenant_at_its_limit_gets_the_slot_that_its_own_job_leaves(
    runs: QueueBench,
) -> None:
    await runs.take_in(*(new_run(number) for number in range(3)))
    queue = runs.queue(tenant_limit=1)
    (attempt,) = await queue.claim(free_slots=4)
    for _ in range(2):
        ending = domain.ending(attempt, GENERATED, timedelta(seconds=1), POLICY)
        (attempt,) = await queue.finish([ending], free_slots=4)
    assert await runs.states() == {"running": 1, "ended": 2}


async def test_a_tenant_s_limit_holds_however_many_claim_at_once(runs: QueueBench) -> None:
    await runs.take_in(*(new_run(number, tenant=f"tenant-{number % 2}") for number in range(60)))
    queues = [runs.queue(worker=str(number), tenant_limit=3) for number in range(6)]
    claimed = await asyncio.gather(*(queue.claim(free_slots=4) for queue in queues))
    names = sorted(tenants(itertools.chain.from_iterable(claimed)))
    assert names == ["tenant-0"] * 3 + ["tenant-1"] * 3


async def test_progress_is_told_only_by_whoever_holds_the_lease(runs: QueueBench) -> None:
    kept, taken = await runs.take_in(new_run(1), new_run(2), free_slots=2)
    await runs.finish(taken, Lost())
    reports = [
        ProgressReport(attempt, Progress(phase="query", percent=40), timedelta(seconds=3), 1)
        for attempt in (kept, taken)
    ]
    assert await runs.queue().renew([kept, taken], reports) == Renewal(taken_away=[taken])
    (event,) = await runs.progress()
    assert (event.job_id, event.attempt, event.sequence) == (kept.job_id, 1, 1)
    assert (event.progress.phase, event.progress.percent) == ("query", 40)
    assert event.started_at == kept.started_at
    assert event.progressed_at == kept.started_at + timedelta(seconds=3)


async def test_tenants_take_turns(runs: QueueBench) -> None:
    names = ["a"] * 6 + ["b"] * 6 + ["c"]
    await runs.take_in(*(new_run(number, tenant=name) for number, name in enumerate(names)))
    claimed = [tenants(await runs.queue().claim(free_slots=3)) for _ in range(3)]
    assert [sorted(names) for names in claimed] == [
        ["a", "b", "c"],
        ["a", "a", "b"],
        ["a", "b", "b"],
    ]


async def test_tenants_take_turns_where_one_job_runs_at_a_time(runs: QueueBench) -> None:
    names = ["a"] * 5 + ["b"] * 3 + ["c"]
    await runs.take_in(*(new_run(number, tenant=name) for number, name in enumerate(names)))
    queue, told = runs.queue(), []
    attempts = await queue.claim(free_slots=1)
    while attempts:
        told += tenants(attempts)
        ending = domain.ending(attempts[0], GENERATED, timedelta(seconds=1), POLICY)
        attempts = await queue.finish([ending], free_slots=1)
    assert told == ["a", "b", "c", "a", "b", "a", "b", "a", "a"]


async def test_a_tenant_s_older_job_comes_first(runs: QueueBench) -> None:
    await runs.take_in(new_run(1))
    await runs.take_in(new_run(2))
    (first,) = await runs.queue().claim(free_slots=1)
    assert first.job_id == new_run(1).job_id


async def test_no_run_is_claimed_twice_however_many_claim_at_once(runs: QueueBench) -> None:
    await runs.take_in(*(new_run(n, tenant=f"tenant-{n % 3}") for n in range(400)))
    queues = [runs.queue(worker=str(number)) for number in range(6)]

    async def claim_all(number: int) -> list[Attempt]:
        attempts: list[Attempt] = []
        while (await runs.states()).get("queued"):
            attempts += await queues[number].claim(free_slots=number + 1)
        return attempts

    claimed = list(
        itertools.chain.from_iterable(await asyncio.gather(*map(claim_all, range(len(queues)))))
    )
    assert len(claimed) == len({attempt.job_id for attempt in claimed}) == 400
    assert {attempt.attempt for attempt in claimed} == {1}
    assert len({attempt.token for attempt in claimed}) == 400


async def test_workers_that_claim_at_once_all_get_work(runs: QueueBench) -> None:
    await runs.take_in(*(new_run(n, tenant=f"tenant-{n % 2}") for n in range(8)))
    async with runs.database.transaction() as first, runs.database.transaction() as second:
        claimed = [await claim_in(first), await claim_in(second)]
    assert [len(attempts) for attempts in claimed] == [4, 4]


async def claim_in(conn: Connection) -> list[Attempt]:
    return await store.claim(conn, limit=4, lease=60)


async def test_an_expired_lease_is_lost_and_the_run_is_attempted_again(runs: QueueBench) -> None:
    (first,) = await runs.take_in(new_run(), free_slots=1)
    await runs.expire_leases()
    await runs.queue().reap()
    (second,) = await runs.queue().claim(free_slots=1)
    assert (second.attempt, second.losses, second.failures) == (2, 1, 0)
    assert second.token != first.token
    assert await runs.stored_events() == ["JobAttemptEnded", "JobStarted", "JobStarted"]


async def test_all_that_a_large_worker_held_is_given_out_again_at_once(runs: QueueBench) -> None:
    await runs.take_in(*(new_run(number) for number in range(288)), free_slots=288)
    await runs.expire_leases()
    await runs.queue().reap()
    assert await runs.states() == {"queued": 288}


async def test_a_run_that_is_lost_too_often_fails(runs: QueueBench) -> None:
    await runs.take_in(new_run())
    for _ in range(POLICY.max_losses):
        await runs.make_due()
        assert len(await runs.queue().claim(free_slots=1)) == 1
        await runs.expire_leases()
        await runs.queue().reap()
    assert await runs.states() == {"ended": 1}
    assert (await runs.stored_events()).count("JobFailed") == 1


async def test_a_zombie_s_result_changes_nothing(runs: QueueBench) -> None:
    (zombie,) = await runs.take_in(new_run(), free_slots=1)
    await runs.expire_leases()
    await runs.queue().reap()
    (winner,) = await runs.queue().claim(free_slots=1)
    before = await runs.stored_events()
    await runs.finish(zombie, GENERATED)
    assert await runs.states() == {"running": 1}
    assert await runs.stored_events() == before
    await runs.finish(winner, GENERATED)
    await runs.finish(zombie, PERMANENT)
    assert await runs.states() == {"ended": 1}
    assert (await runs.stored_events()).count("JobCompleted") == 1
    assert (await runs.stored_events()).count("JobFailed") == 0


async def test_a_beat_revives_a_lease_that_nobody_reaped(runs: QueueBench) -> None:
    queue = runs.queue()
    (attempt,) = await runs.take_in(new_run(), free_slots=1)
    await runs.expire_leases()
    assert await queue.renew([attempt]) == Renewal()
    await runs.queue().reap()
    assert await runs.states() == {"running": 1}


async def test_a_beat_tells_which_attempts_were_taken_away(runs: QueueBench) -> None:
    kept, taken = await runs.take_in(new_run(1), new_run(2), free_slots=2)
    await runs.finish(taken, Lost())
    assert await runs.queue().renew([kept, taken]) == Renewal(taken_away=[taken])


async def test_a_beat_does_not_wait_for_a_row_that_is_being_finished(runs: QueueBench) -> None:
    (attempt,) = await runs.take_in(new_run(), free_slots=1)
    async with runs.database.transaction() as conn:
        await conn.execute("SELECT 1 FROM runs FOR UPDATE")
        assert await runs.queue().renew([attempt]) == Renewal()


async def test_an_ending_and_its_event_are_stored_together_or_not_at_all(runs: QueueBench) -> None:
    (attempt,) = await runs.take_in(new_run(), free_slots=1)
    ending = domain.ending(attempt, GENERATED, timedelta(seconds=1), POLICY)
    async with runs.database.connection() as conn:
        await conn.execute("ALTER TABLE outbox ADD CONSTRAINT closed CHECK (false) NOT VALID")
    with pytest.raises(asyncpg.CheckViolationError):
        await runs.queue().finish([ending], free_slots=0)
    async with runs.database.connection() as conn:
        await conn.execute("ALTER TABLE outbox DROP CONSTRAINT closed")
    assert await runs.states() == {"running": 1}
    await runs.finish(attempt, GENERATED)
    assert await runs.states() == {"ended": 1}
    assert await runs.stored_events() == ["JobCompleted", "JobStarted"]


async def test_a_failed_attempt_waits_before_the_next(runs: QueueBench) -> None:
    (attempt,) = await runs.take_in(new_run(), free_slots=1)
    await runs.finish(attempt, TRANSIENT)
    assert await runs.queue().claim(free_slots=1) == []
    await runs.make_due()
    (again,) = await runs.queue().claim(free_slots=1)
    assert (again.attempt, again.failures) == (2, 1)


async def test_a_run_that_is_given_back_is_due_at_once_though_its_start_was_taken_for_later(
    runs: QueueBench,
) -> None:
    (attempt,) = await runs.take_in(new_run(), free_slots=1)
    early = replace(attempt, started_at=attempt.started_at + timedelta(minutes=5))
    await runs.finish(early, Released())
    (again,) = await runs.queue().claim(free_slots=1)
    assert again.attempt == 2


async def test_nobody_is_reaped_while_an_outage_may_have_kept_workers_from_renewing(
    runs: QueueBench,
) -> None:
    await runs.take_in(new_run(), free_slots=1)
    await runs.expire_leases()
    watchful = runs.queue(grace=3600)
    await watchful.reap()
    async with runs.database.connection() as conn:
        assert await store.expired(conn, grace=10.0**9, limit=1) == []
    assert await runs.states() == {"running": 1}


async def test_a_request_that_can_t_be_read_any_more_is_claimed_all_the_same(
    runs: QueueBench,
) -> None:
    await runs.take_in(new_run(1), new_run(2))
    async with runs.database.connection() as conn:
        await conn.execute("UPDATE runs SET request = '[]' WHERE job_id = $1", new_run(1).job_id)
    first, second = await runs.queue().claim(free_slots=2)
    assert first.request is None
    assert second.request == new_run(2).request
    await runs.finish(first, domain.UNREADABLE)
    assert (await runs.stored_events()).count("JobFailed") == 1
