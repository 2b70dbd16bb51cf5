"""The slots of a worker over a queue and children that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from report_worker.domain import Attempt, Ending, ProgressReport
from report_worker.metrics import WorkerMetrics
from report_worker.service import Dispatcher, DispatcherTimes, Queue, Renewal, Slots
from shared.backoff import Backoff
from shared.events import JobAttemptEnded, JobCompleted, JobFailed, Progress
from shared.telemetry.probes import Heartbeat
from tests.support.report_children import ObedientChildren, attempts
from tests.support.report_runs import GENERATED, POLICY, attempt
from tests.support.report_worker import eventually

QUICK = DispatcherTimes(beat=0.01, beat_limit=1.0, retry=Backoff(first=0.001, longest=0.01))


@dataclass
class ObedientQueue:
    """Hands out `due`, records endings, and fails as often as it was told to."""

    due: list[Attempt] = field(default_factory=list)
    recorded: list[Ending] = field(default_factory=list)
    failures: int = 0
    taken_away: list[Attempt] = field(default_factory=list)
    cancelled: list[Attempt] = field(default_factory=list)
    renewed: list[Attempt] = field(default_factory=list)
    told: list[ProgressReport] = field(default_factory=list)
    is_silent: bool = False
    renewals: int = 0
    renewals_to_fail: int = 0
    beats_failed: int = 0
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.is_open.set()

    async def claim(self, *, free_slots: int) -> list[Attempt]:
        claimed, self.due = self.due[:free_slots], self.due[free_slots:]
        await self.is_open.wait()
        return claimed

    async def finish(self, endings: Sequence[Ending], *, free_slots: int) -> list[Attempt]:
        await self.is_open.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away")
        self.recorded += endings
        return await self.claim(free_slots=free_slots)

    async def renew(
        self, attempts: Sequence[Attempt], progress: Sequence[ProgressReport]
    ) -> Renewal:
        if self.is_silent:
            await asyncio.Event().wait()
        if progress and self.renewals_to_fail:
            self.renewals_to_fail -= 1
            raise ConnectionError("the database is away")
        self.renewals += 1
        self.renewed = list(attempts)
        self.told += progress
        return Renewal(taken_away=self.taken_away, cancelled=self.cancelled)

    async def reap(self) -> None:
        pass

    async def expire(self) -> None:
        pass

    async def count(self) -> None:
        pass

    def put_off_reaping(self) -> None:
        self.beats_failed += 1


class Bench:
    """A dispatcher with its loops."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.queue = ObedientQueue()
        self.children = ObedientChildren()
        self.slots = Slots(
            self.children,
            policy=POLICY,
            metrics=WorkerMetrics(CollectorRegistry()),
            monotonic=lambda: self.now,
        )
        self.dispatcher = Dispatcher(
            cast("Queue", self.queue), self.slots, times=QUICK, heartbeat=Heartbeat(limit=60)
        )

    @asynccontextmanager
    async def running(self, *, beat: bool = False) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.dispatcher.run_finisher())]
        if beat:
            tasks.append(asyncio.create_task(self.dispatcher.run_beat()))
        self.dispatcher.wake()
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def executing(self, count: int) -> None:
        await eventually(lambda: len(self.children.outcomes) == count)

    async def recorded(self, count: int) -> list[Ending]:
        await eventually(lambda: len(self.queue.recorded) == count)
        return self.queue.recorded

    async def beats(self, count: int) -> None:
        """Return after so many more beats."""
        before = self.queue.renewals
        await eventually(lambda: self.queue.renewals >= before + count)

    def end(self, token: int) -> None:
        self.children.outcomes[UUID(int=token)].set_result(GENERATED)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_freed_slot_is_filled_by_the_round_that_records_the_ending(bench: Bench) -> None:
    bench.queue.due = attempts(3)
    async with bench.running():
        await bench.executing(2)
        bench.end(1)
        await bench.executing(3)
        assert [ending.attempt.token.int for ending in bench.queue.recorded] == [1]


async def test_no_more_is_claimed_than_there_are_living_children_for(bench: Bench) -> None:
    bench.queue.due = attempts(3)
    bench.children.capacity = 0
    async with bench.running(beat=True):
        await eventually(lambda: bench.dispatcher._counted_at > 0)
        assert bench.children.outcomes == {}
        bench.children.capacity = 1
        await bench.executing(1)


async def test_an_unexpected_error_ends_the_attempt_and_frees_its_slot(bench: Bench) -> None:
    bench.children.capacity = 1
    bench.queue.due = attempts(2)
    async with bench.running():
        await bench.executing(1)
        bench.children.outcomes[UUID(int=1)].set_exception(RuntimeError("a defect"))
        (ending,) = await bench.recorded(1)
        assert isinstance(ending.event, JobAttemptEnded)
        assert ending.event.error_code == "REPORT_GENERATION_FAILED"
        assert "defect" not in ending.event.model_dump_json()
        await bench.executing(2)


async def test_endings_are_recorded_when_the_database_is_back(bench: Bench) -> None:
    bench.queue.due = attempts(1)
    bench.queue.failures = 5
    async with bench.running():
        await bench.executing(1)
        bench.end(1)
        (ending,) = await bench.recorded(1)
        assert isinstance(ending.event, JobCompleted)


async def test_an_attempt_that_ended_but_isn_t_recorded_keeps_its_lease(bench: Bench) -> None:
    bench.queue.due = attempts(1)
    bench.queue.failures = 10**9
    async with bench.running(beat=True):
        await bench.executing(1)
        bench.end(1)
        await eventually(lambda: bench.queue.failures < 10**9)
        bench.queue.renewed = []
        await eventually(lambda: [one.token.int for one in bench.queue.renewed] == [1])


async def test_an_attempt_that_was_taken_away_is_stopped_and_tells_nothing(bench: Bench) -> None:
    bench.queue.due = attempts(1)
    async with bench.running(beat=True):
        await bench.executing(1)
        bench.queue.taken_away = attempts(1)
        await eventually(lambda: bench.children.cancelled == [UUID(int=1)])
        await eventually(lambda: bench.queue.renewed == [])
        assert bench.queue.recorded == []


async def test_a_cancelled_attempt_is_stopped_and_ends(bench: Bench) -> None:
    bench.queue.due = attempts(1)
    async with bench.running(beat=True):
        await bench.executing(1)
        bench.queue.cancelled = attempts(1)
        (ending,) = await bench.recorded(1)
        assert isinstance(ending.event, JobFailed)
        assert ending.event.error_code == "CANCELLED"
        assert bench.children.cancelled == [UUID(int=1)]


async def test_a_worker_that_hears_of_a_cancel_doesn_t_wait_for_the_beat(bench: Bench) -> None:
    bench.dispatcher._times = DispatcherTimes(beat=3600, beat_limit=1.0)
    bench.queue.due = attempts(1)
    async with bench.running(beat=True):
        await bench.executing(1)
        bench.queue.cancelled = attempts(1)
        bench.dispatcher.wake_beat()
        await bench.recorded(1)


async def test_an_attempt_that_is_hard_to_stop_is_asked_once_and_keeps_its_lease(
    bench: Bench,
) -> None:
    bench.children.stops = asyncio.Event()
    bench.queue.due = attempts(1)
    async with bench.running(beat=True):
        await bench.executing(1)
        bench.queue.cancelled = attempts(1)
        await eventually(lambda: bench.children.cancelled == [UUID(int=1)])
        bench.queue.renewed = []
        await eventually(lambda: [one.token.int for one in bench.queue.renewed] == [1])
        bench.children.stops.set()
        await bench.recorded(1)
        assert bench.children.cancelled == [UUID(int=1)]


async def test_a_report_that_is_made_while_it_is_stopped_counts(bench: Bench) -> None:
    bench.children.stops = asyncio.Event()
    bench.children.made_while_stopping = GENERATED
    bench.children.stops.set()
    bench.queue.due = attempts(1)
    async with bench.running(beat=True):
        await bench.executing(1)
        bench.queue.cancelled = attempts(1)
        (ending,) = await bench.recorded(1)
        assert isinstance(ending.event, JobCompleted)


async def test_the_newest_progress_is_told_once_a_second(
    bench: Bench,
) -> None:
    bench.queue.due = attempts(1)
    async with bench.running(beat=True):
        await bench.executing(1)
        tell = bench.children.on_progress[UUID(int=1)]
        tell(Progress(phase="query", percent=10))
        tell(Progress(phase="query", percent=20))
        await bench.beats(2)
        assert bench.queue.told == []
        bench.now += 1
        await eventually(lambda: len(bench.queue.told) == 1)
        bench.now += 1
        await bench.beats(2)
        assert len(bench.queue.told) == 1
        tell(Progress(phase="upload", percent=5))
        await eventually(lambda: len(bench.queue.told) == 2)
        told = [
            (one.sequence, one.progress.phase, one.progress.percent) for one in bench.queue.told
        ]
        assert told == [(1, "query", 20), (2, "upload", 20)]


async def test_progress_that_could_not_be_stored_is_told_again_under_another_number(
    bench: Bench,
) -> None:
    bench.queue.due = attempts(1)
    async with bench.running(beat=True):
        await bench.executing(1)
        bench.children.on_progress[UUID(int=1)](Progress(phase="query"))
        bench.queue.renewals_to_fail = 1
        bench.now += 1
        await eventually(lambda: bench.queue.told != [])
        assert [one.sequence for one in bench.queue.told] == [2]


async def test_a_connection_that_says_nothing_costs_one_beat(bench: Bench) -> None:
    bench.dispatcher._times = DispatcherTimes(beat=0.01, beat_limit=0.02)
    bench.queue.is_silent = True
    async with bench.running(beat=True):
        await eventually(lambda: bench.queue.beats_failed >= 3)


async def test_draining_lets_attempts_end_and_gives_back_the_rest(bench: Bench) -> None:
    bench.queue.due = attempts(2)
    async with bench.running():
        await bench.executing(2)
        bench.end(1)
        await bench.dispatcher.drain(budget=0.05)
        first, second = bench.queue.recorded
        assert isinstance(first.event, JobCompleted)
        assert isinstance(second.event, JobAttemptEnded)
        assert second.event.outcome == "RELEASED"
        assert bench.children.cancelled == [UUID(int=2)]


async def test_each_attempt_has_one_ending_when_draining_meets_a_round(bench: Bench) -> None:
    bench.queue.due = attempts(2)
    async with bench.running():
        await bench.executing(2)
        bench.queue.is_open.clear()
        bench.end(1)
        draining = asyncio.create_task(bench.dispatcher.drain(budget=0.02))
        await eventually(lambda: bench.children.cancelled == [UUID(int=2)])
        bench.queue.is_open.set()
        await draining
        assert sorted(ending.attempt.token.int for ending in bench.queue.recorded) == [1, 2]


async def test_what_a_late_claim_brings_is_given_back_untouched(bench: Bench) -> None:
    bench.queue.due = attempts(1)
    bench.queue.is_open.clear()
    async with bench.running():
        await eventually(lambda: not bench.queue.due)
        draining = asyncio.create_task(bench.dispatcher.drain(budget=0.02))
        await asyncio.sleep(0)
        bench.queue.is_open.set()
        await draining
        (ending,) = bench.queue.recorded
        assert isinstance(ending.event, JobAttemptEnded)
        assert ending.event.outcome == "RELEASED"
        assert bench.children.outcomes == {}


async def test_an_outcome_that_makes_no_event_fails_the_attempt(bench: Bench) -> None:
    bench.queue.due = [attempt(token=UUID(int=1), request=None, failures=POLICY.max_failures)]
    async with bench.running():
        await bench.executing(1)
        bench.end(1)
        (ending,) = await bench.recorded(1)
        assert isinstance(ending.event, JobFailed)
