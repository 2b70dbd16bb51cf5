"""Runs that begin in the moment of their arrival, when there is room for them and nothing waits."""

import pytest
from aiokafka import TopicPartition

from report_worker import domain
from report_worker.domain import Attempt, Request
from report_worker.service import Intake, Queue
from shared.database.positions import Advance, PositionsLostError
from shared.topics import Topic
from tests.integration.report_worker.queue_bench import QueueBench
from tests.support.report_runs import GENERATED, NOON, POLICY, new_run

PARTITION = TopicPartition(Topic.REQUESTS, 0)


async def idle(runs: QueueBench) -> Queue:
    """Make a queue that knows that nothing waits, and what the database's clock says."""
    queue = runs.queue()
    await queue.count()
    assert await queue.claim(free_slots=1) == []
    return queue


async def take_in(queue: Queue, *requests: Request, follows: int = 0) -> list[Attempt]:
    progress = {PARTITION: Advance(follows=follows, next_offset=follows + len(requests))}
    return await queue.take_in(Intake(progress, list(requests)), free_slots=2)


async def rows(runs: QueueBench) -> list[dict[str, object]]:
    """Return all that stands in the rows of runs but for what differs between any two claims."""
    async with runs.database.connection() as conn:
        found = await conn.fetch("SELECT * FROM runs ORDER BY job_id")
    differing = {"token", "started_at", "lease_until", "run_at"}
    return [{k: v for k, v in row.items() if k not in differing} for row in found]


async def position(runs: QueueBench) -> int | None:
    async with runs.database.connection() as conn:
        offset: int | None = await conn.fetchval("SELECT next_offset FROM positions")
    return offset


async def test_runs_begin_as_they_arrive(runs: QueueBench) -> None:
    attempts = await take_in(await idle(runs), new_run(2), new_run(1))
    assert {attempt.attempt for attempt in attempts} == {1}
    assert await runs.states() == {"running": 2}
    assert await runs.stored_events() == ["JobStarted", "JobStarted"]
    assert await position(runs) == 2


async def test_an_arrival_leaves_what_intake_and_claim_leave(runs: QueueBench) -> None:
    await runs.take_in(new_run(1), free_slots=1)
    claimed = await rows(runs)
    async with runs.database.connection() as conn:
        await conn.execute("TRUNCATE runs, outbox")
    await take_in(await idle(runs), new_run(1))
    assert await rows(runs) == claimed


async def test_an_arrival_is_attempted_on_the_database_s_clock(runs: QueueBench) -> None:
    (attempt,) = await take_in(await idle(runs), new_run())
    async with runs.database.connection() as conn:
        row = await conn.fetchrow("SELECT started_at, lease_until, now() AS now FROM runs")
    assert row is not None
    assert row["started_at"] == attempt.started_at
    assert abs((row["now"] - attempt.started_at).total_seconds()) < 10
    assert row["lease_until"] > row["now"]


async def test_a_run_that_is_known_does_not_begin_again(runs: QueueBench) -> None:
    queue = await idle(runs)
    (attempt,) = await take_in(queue, new_run(1))
    assert await take_in(queue, new_run(1), follows=1) == []
    await runs.finish(attempt, GENERATED)
    again = await take_in(queue, new_run(1), new_run(2), follows=2)
    assert [one.job_id for one in again] == [new_run(2).job_id]
    assert await runs.states() == {"ended": 1, "running": 1}


async def test_an_arrival_ends_like_any_other_attempt(runs: QueueBench) -> None:
    queue = await idle(runs)
    (attempt,) = await take_in(queue, new_run())
    ending = domain.ending(attempt, GENERATED, NOON - NOON, POLICY)
    assert await queue.finish([ending], free_slots=1) == []
    assert await runs.states() == {"ended": 1}
    assert await runs.stored_events() == ["JobCompleted", "JobStarted"]


async def test_nothing_is_stored_when_the_database_went_back(runs: QueueBench) -> None:
    queue = await idle(runs)
    with pytest.raises(PositionsLostError):
        await take_in(queue, new_run(), follows=7)
    assert await runs.states() == {}
    assert await runs.stored_events() == []
    assert await position(runs) is None


async def test_what_waits_comes_before_what_arrives(runs: QueueBench) -> None:
    queue = await idle(runs)
    await runs.take_in(new_run(1))
    queue.hear_of_waiting()
    attempts = await queue.take_in(Intake({}, [new_run(2)]), free_slots=1)
    assert [attempt.job_id for attempt in attempts] == [new_run(1).job_id]
    assert await runs.states() == {"queued": 1, "running": 1}


async def test_more_than_there_is_room_for_waits(runs: QueueBench) -> None:
    queue = await idle(runs)
    assert len(await take_in(queue, *(new_run(number) for number in range(5)))) == 2
    assert await runs.states() == {"queued": 3, "running": 2}
    assert len(await take_in(queue, new_run(9), follows=5)) == 2
    assert await runs.states() == {"queued": 2, "running": 4}


async def test_a_run_that_came_too_late_waits_to_expire(runs: QueueBench) -> None:
    queue = await idle(runs)
    assert await take_in(queue, new_run(start_by=NOON)) == []
    await queue.expire()
    assert await runs.states() == {"ended": 1}
    assert await runs.stored_events() == ["JobFailed"]


async def test_a_limit_per_tenant_is_kept(runs: QueueBench) -> None:
    queue = runs.queue(tenant_limit=1)
    await queue.count()
    await queue.claim(free_slots=1)
    assert len(await take_in(queue, new_run(1), new_run(2))) == 1
