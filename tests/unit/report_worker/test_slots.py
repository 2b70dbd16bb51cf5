"""How many attempts a worker takes on, and which of them goes next."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from report_worker.domain import Attempt, Cancelled
from report_worker.metrics import WorkerMetrics
from report_worker.service import Slots
from shared.events import JobAttemptEnded, JobCompleted, JobFailed
from tests.support.report_children import ObedientChildren, attempts
from tests.support.report_runs import GENERATED, POLICY
from tests.support.report_worker import eventually

LATELY = 32
"""More attempts than these tell nothing new of how long one takes."""


class Bench:
    """Two slots, and a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.children = ObedientChildren()
        self.slots = Slots(
            self.children,
            policy=POLICY,
            metrics=WorkerMetrics(CollectorRegistry()),
            monotonic=lambda: self.now,
        )

    @property
    def room(self) -> int:
        with self.slots.reservation() as room:
            return room

    @property
    def begun(self) -> list[int]:
        """The tokens of all attempts that had a slot, in their order."""
        return [token.int for token in self.children.outcomes]

    def start(self, *started: Attempt) -> None:
        with self.slots.reservation():
            self.slots.start(started)

    async def end(self, token: int, *, after: float = 0.0) -> None:
        """Let an attempt end that has a slot."""
        await eventually(lambda: token in self.begun)
        self.now += after
        self.children.outcomes[UUID(int=token)].set_result(GENERATED)
        await eventually(lambda: token in self.ended)
        await asyncio.sleep(0)

    @property
    def ended(self) -> dict[int, JobAttemptEnded | JobCompleted | JobFailed]:
        """What is to be recorded, by token."""
        return {ending.attempt.token.int: ending.event for ending in self.slots.endings}

    async def work_off(self, *seconds: float) -> None:
        """Let attempts run one after the other, for so long each."""
        for attempt, took in zip(attempts(len(seconds)), seconds, strict=True):
            self.start(attempt)
            await self.end(attempt.token.int, after=took)
            self.slots.recorded(self.slots.endings)
        self.children.outcomes.clear()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.slots.give_back()
    await asyncio.gather(*made.slots.tasks, return_exceptions=True)


async def test_there_is_room_for_what_has_a_slot_alone_before_anything_is_known(
    bench: Bench,
) -> None:
    assert bench.room == 2
    bench.start(*attempts(1))
    assert bench.room == 1


async def test_a_reservation_keeps_its_room_from_others(bench: Bench) -> None:
    with bench.slots.reservation() as room:
        assert room == 2
        assert bench.room == 0
    assert bench.room == 2


async def test_where_attempts_take_milliseconds_some_may_wait_for_a_slot(bench: Bench) -> None:
    await bench.work_off(*[0.04] * LATELY)
    assert bench.room == 2 + 2 * 5
    bench.start(*attempts(12))
    await eventually(lambda: bench.begun == [1, 2])
    assert len(bench.slots.held) == 12
    await bench.end(2)
    await eventually(lambda: bench.begun == [1, 2, 3])


async def test_no_more_wait_than_are_worth_losing_with_the_worker(bench: Bench) -> None:
    await bench.work_off(*[0.001] * LATELY)
    assert bench.room == 2 + 32
    bench.children.capacity = 256
    assert bench.room == 256 + 32


async def test_more_are_claimed_when_half_of_what_may_wait_is_used_up(bench: Bench) -> None:
    await bench.work_off(*[0.04] * LATELY)
    bench.start(*attempts(12))
    for token in range(1, 6):
        await bench.end(token, after=0.02)
        assert bench.room == 0
    await bench.end(6, after=0.02)
    assert bench.room == 6


@pytest.mark.parametrize("slow_one", [0, LATELY - 1])
async def test_none_may_wait_where_one_of_the_last_attempts_was_slow(
    bench: Bench, slow_one: int
) -> None:
    seconds = [0.04] * LATELY
    seconds[slow_one] = 0.3
    await bench.work_off(*seconds)
    assert bench.room == 2
    await bench.work_off(*[0.04] * (slow_one + 1))
    assert bench.room > 2


async def test_a_slot_that_a_long_attempt_holds_is_not_waited_for(bench: Bench) -> None:
    await bench.work_off(*[0.04] * LATELY)
    bench.start(*attempts(1))
    assert bench.room == 1 + 2 * 5
    bench.now += 10
    assert bench.room == 1 + 5
    bench.children.capacity = 1
    assert bench.room == 0


async def test_the_tenant_with_the_fewest_running_goes_next(bench: Bench) -> None:
    many = attempts(4)
    few = replace(many[3], tenant="few")
    bench.start(*many[:2])
    bench.start(many[2], few)
    await bench.end(1)
    await eventually(lambda: bench.begun == [1, 2, 4])
    await bench.end(2)
    await eventually(lambda: bench.begun == [1, 2, 4, 3])


async def test_ends_are_recorded_in_company_while_slots_are_fed_by_what_waits(bench: Bench) -> None:
    await bench.work_off(*[0.04] * LATELY)
    bench.start(*attempts(12))
    bench.slots.changed.clear()
    for token in range(1, 6):
        await bench.end(token, after=0.02)
        assert not bench.slots.changed.is_set()
    await bench.end(6, after=0.02)
    assert bench.slots.changed.is_set()


async def test_an_end_is_recorded_at_once_where_nothing_waits(bench: Bench) -> None:
    bench.start(*attempts(2))
    bench.slots.changed.clear()
    await bench.end(1)
    assert bench.slots.changed.is_set()


async def test_an_end_that_a_client_asked_for_is_recorded_at_once(bench: Bench) -> None:
    await bench.work_off(*[0.04] * LATELY)
    bench.start(*attempts(12))
    await eventually(lambda: bench.begun == [1, 2])
    bench.slots.changed.clear()
    bench.slots.stop(attempts(1), Cancelled())
    await eventually(bench.slots.changed.is_set)
    assert bench.ended.keys() == {1}


async def test_what_waits_is_cancelled_at_once(bench: Bench) -> None:
    bench.start(*attempts(3))
    bench.slots.stop(attempts(3)[2:], Cancelled())
    event = bench.ended[3]
    assert isinstance(event, JobFailed)
    assert event.error_code == "CANCELLED"
    await bench.end(1)
    assert bench.begun == [1, 2]


async def test_what_waits_and_is_taken_away_tells_nothing(bench: Bench) -> None:
    bench.start(*attempts(3))
    bench.slots.stop(attempts(3)[2:], None)
    assert bench.ended == {}
    assert len(bench.slots.held) == 2


async def test_what_waits_in_vain_is_given_back_untouched(bench: Bench) -> None:
    bench.start(*attempts(3))
    bench.slots.give_back_what_waits_long()
    assert bench.ended == {}
    bench.now += 2
    bench.slots.give_back_what_waits_long()
    (event,) = bench.ended.values()
    assert isinstance(event, JobAttemptEnded)
    assert (event.outcome, event.retry_at) == ("RELEASED", event.ended_at)
    assert bench.ended.keys() == {3}


async def test_what_waits_goes_back_when_the_worker_closes(bench: Bench) -> None:
    bench.start(*attempts(3))
    bench.slots.close()
    assert bench.ended.keys() == {3}
    assert bench.room == 0
    await bench.end(1)
    assert isinstance(bench.ended[1], JobCompleted)


async def test_a_child_that_comes_back_takes_what_waits(bench: Bench) -> None:
    bench.children.capacity = 0
    bench.start(*attempts(1))
    assert bench.begun == []
    bench.children.capacity = 1
    bench.slots.fill()
    await eventually(lambda: bench.begun == [1])
