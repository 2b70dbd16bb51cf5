"""Runs what the queue claimed, in as many slots as there are children, and keeps its leases."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

import asyncpg
import structlog

from report_worker import domain
from report_worker.domain import Attempt, Ending, Outcome, RetryPolicy
from report_worker.metrics import WorkerMetrics
from report_worker.service.queue import Queue
from shared.backoff import Backoff
from shared.database.pool import TRANSIENT_ERRORS
from shared.telemetry.probes import Heartbeat

_PASSING: Final = (*TRANSIENT_ERRORS, asyncpg.PostgresError)
"""What the loops outlive; a schema that isn't migrated yet is among it."""

_log = structlog.get_logger()


class Executes(Protocol):
    """What the dispatcher needs of the children; cancelling stops the attempt at once."""

    @property
    def capacity(self) -> int:
        """How many attempts can execute at this moment, those that do included."""
        ...

    async def execute(self, attempt: Attempt) -> Outcome:
        """Run one attempt to its outcome."""
        ...


@dataclass(frozen=True, slots=True)
class DispatcherTimes:
    """All in seconds."""

    beat: float
    """How often leases are renewed and lost ones looked for."""
    beat_limit: float
    """When a beat is given up for the next: a silent connection mustn't cost the leases."""
    count_every: float = 5.0
    """How often the gauges of the whole queue are brought up to date."""
    last_words: float = 5.0
    """How long a draining worker tries to record what ended."""
    retry: Backoff = field(default_factory=lambda: Backoff(first=0.1, longest=5.0))


@dataclass(slots=True)
class _Running:
    attempt: Attempt
    since: float = field(default_factory=time.monotonic)
    task: "asyncio.Task[None] | None" = None

    @property
    def took(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self.since)


class Dispatcher:
    """The slots of one worker process.

    An attempt is either in `_running` or, once, in `_ended`, and leaves that when it is recorded.
    """

    def __init__(
        self,
        queue: Queue,
        children: Executes,
        *,
        times: DispatcherTimes,
        policy: RetryPolicy,
        metrics: WorkerMetrics,
        heartbeat: Heartbeat,
    ) -> None:
        self._queue = queue
        self._children = children
        self._times = times
        self._policy = policy
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._running: dict[UUID, _Running] = {}
        self._ended: dict[UUID, Ending] = {}
        self._reserved = 0
        self._is_draining = False
        self._wake = asyncio.Event()
        self._recording = asyncio.Lock()
        self._counted_at = float("-inf")

    @contextmanager
    def reservation(self) -> Iterator[int]:
        """Hold the free slots while a transaction claims for them; gives how many they are."""
        taken = len(self._running) + self._reserved
        free = 0 if self._is_draining else max(0, self._children.capacity - taken)
        self._reserved += free
        try:
            yield free
        finally:
            self._reserved -= free

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Begin to execute claimed attempts; call inside the reservation they were claimed in."""
        for attempt in attempts:
            running = _Running(attempt)
            if self._is_draining:
                self._end(domain.released(attempt, running.took))
            else:
                self._running[attempt.token] = running
                running.task = asyncio.create_task(self._execute(running))
        self._metrics.busy_slots.set(len(self._running))

    def wake(self) -> None:
        """Say that runs may be due, or that a slot became free for them."""
        self._wake.set()

    async def run_finisher(self) -> None:
        """Record endings and fill the freed slots for ever.

        Each round takes all that ended during the last one's transaction.
        """
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._record_and_claim()
                failures = 0
            except _PASSING as error:
                failures += 1
                _log.warning("endings not recorded yet", error=type(error).__name__)
                await asyncio.sleep(self._times.retry.delay(failures))
                self._wake.set()

    async def run_beat(self) -> None:
        """Renew leases, reap those of lost workers and look for due runs, once a beat."""
        while True:
            started = time.monotonic()
            self._heartbeat.beat()
            try:
                async with asyncio.timeout(self._times.beat_limit):
                    await self._beat()
            except _PASSING as error:
                self._queue.put_off_reaping()
                _log.warning("beat failed", error=type(error).__name__)
            self._wake.set()
            await asyncio.sleep(max(0.0, self._times.beat - (time.monotonic() - started)))

    async def drain(self, budget: float) -> None:
        """Claim no more; let attempts run on for `budget` seconds, then give them back."""
        self._is_draining = True
        tasks = [running.task for running in self._running.values() if running.task]
        if tasks:
            _log.info("draining", running=len(tasks), budget=budget)
            await asyncio.wait(tasks, timeout=budget)
        for running in await self._stop(list(self._running.values())):
            self._end(domain.released(running.attempt, running.took))
        try:
            async with asyncio.timeout(self._times.last_words):
                await self._record_the_rest()
        except TimeoutError:
            # Other workers take these runs over when the leases run out.
            _log.error("endings not recorded", runs=len(self._ended))

    async def _execute(self, running: _Running) -> None:
        attempt = running.attempt
        try:
            outcome = await self._children.execute(attempt)
            ending = domain.ending(attempt, outcome, running.took, self._policy)
        except Exception:  # noqa: BLE001 - as the comment says
            # A defect ends this attempt; without an ending its lease would be kept for ever.
            _log.exception("attempt failed unexpectedly", job_id=attempt.job_id)
            ending = domain.ending(attempt, domain.INTERNAL_ERROR, running.took, self._policy)
        del self._running[attempt.token]
        self._end(ending)

    def _end(self, ending: Ending) -> None:
        self._ended[ending.attempt.token] = ending
        self._metrics.busy_slots.set(len(self._running))
        self._wake.set()

    async def _record_and_claim(self) -> None:
        async with self._recording:
            endings = list(self._ended.values())
            with self.reservation() as free:
                if endings:
                    attempts = await self._queue.finish(endings, free_slots=free)
                elif free:
                    attempts = await self._queue.claim(free_slots=free)
                else:
                    return
                for ending in endings:
                    del self._ended[ending.attempt.token]
                self.start(attempts)

    async def _record_the_rest(self) -> None:
        failures = 0
        # A round that was under way when draining began may still bring claims to give back.
        while self._ended or self._recording.locked():
            try:
                await self._record_and_claim()
            except _PASSING as error:
                failures += 1
                _log.warning("endings not recorded yet", error=type(error).__name__)
                await asyncio.sleep(self._times.retry.delay(failures))

    async def _beat(self) -> None:
        await self._renew()
        await self._queue.reap()
        if time.monotonic() - self._counted_at >= self._times.count_every:
            await self._queue.count()
            self._counted_at = time.monotonic()

    async def _renew(self) -> None:
        """Keep what runs here and what ended here but isn't recorded; stop what was taken away."""
        attempts = [running.attempt for running in self._running.values()]
        attempts += [ending.attempt for ending in self._ended.values()]
        taken_away = [
            running
            for attempt in await self._queue.renew(attempts)
            if (running := self._running.get(attempt.token)) is not None
        ]
        for running in await self._stop(taken_away):
            attempt = running.attempt
            _log.warning("lease lost", job_id=attempt.job_id, attempt=attempt.attempt)

    async def _stop(self, running: Sequence[_Running]) -> list[_Running]:
        """Stop attempts; return those that hadn't ended by themselves just before."""
        tasks = [one.task for one in running if one.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        stopped = [one for one in running if self._running.pop(one.attempt.token, None)]
        self._metrics.busy_slots.set(len(self._running))
        return stopped
