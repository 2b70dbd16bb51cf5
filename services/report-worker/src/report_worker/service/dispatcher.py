"""Runs what the queue claimed, in as many slots as there are children, and keeps its leases."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from report_worker import domain
from report_worker.domain import (
    Attempt,
    Cancelled,
    Ending,
    Generated,
    Outcome,
    Released,
    RetryPolicy,
)
from report_worker.metrics import WorkerMetrics
from report_worker.service.queue import Queue
from report_worker.service.running import Running
from shared.backoff import Backoff
from shared.database.pool import PASSING_ERRORS
from shared.events import Progress
from shared.telemetry.probes import Heartbeat

_log = structlog.get_logger()


class Executes(Protocol):
    """What the dispatcher needs of the children; cancelling stops the attempt within seconds."""

    @property
    def capacity(self) -> int:
        """How many attempts can execute at this moment, those that do included."""
        ...

    async def execute(self, attempt: Attempt, on_progress: Callable[[Progress], None]) -> Outcome:
        """Run one attempt to its outcome within its type's limit; tell how far it has come."""
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
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._children = children
        self._times = times
        self._policy = policy
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._monotonic = monotonic
        self._running: dict[UUID, Running] = {}
        self._ended: dict[UUID, Ending] = {}
        self._reserved = 0
        self._is_draining = False
        self._wake = asyncio.Event()
        self._has_cancels = asyncio.Event()
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
            running = Running(attempt, self._monotonic)
            if self._is_draining:
                self._end(running, Released())
            else:
                self._running[attempt.token] = running
                running.task = asyncio.create_task(self._execute(running))
                running.task.add_done_callback(partial(self._settle, running))
        self._metrics.busy_slots.set(len(self._running))

    def wake(self) -> None:
        """Say that runs may be due, or that a slot became free for them."""
        self._wake.set()

    def wake_beat(self) -> None:
        """Say that attempts may have been cancelled."""
        self._has_cancels.set()

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
            except PASSING_ERRORS as error:
                failures += 1
                _log.warning("endings not recorded yet", error=type(error).__name__)
                await asyncio.sleep(self._times.retry.delay(failures))
                self._wake.set()

    async def run_beat(self) -> None:
        """Renew leases, reap those of lost workers and look for due runs, once a beat.

        Between two beats it only renews, when it hears that attempts were cancelled.
        """
        while True:
            next_at = time.monotonic() + self._times.beat
            self._heartbeat.beat()
            await self._bounded(self._beat)
            self._wake.set()
            while await self._is_cancel_heard(before=next_at):
                await self._bounded(self._renew)

    async def drain(self, budget: float) -> None:
        """Claim no more; let attempts run on for `budget` seconds, then give them back."""
        self._is_draining = True
        tasks = [running.task for running in self._running.values() if running.task]
        if tasks:
            _log.info("draining", running=len(tasks), budget=budget)
            await asyncio.wait(tasks, timeout=budget)
        left = [running.task for running in self._running.values() if running.task]
        for running in list(self._running.values()):
            running.stop(Released())
        if left:
            await asyncio.wait(left, timeout=self._times.last_words)
        try:
            async with asyncio.timeout(self._times.last_words):
                await self._record_the_rest()
        except TimeoutError:
            # Other workers take these runs over when the leases run out.
            _log.error("endings not recorded", runs=len(self._ended))

    async def _execute(self, running: Running) -> Outcome:
        attempt = running.attempt
        try:
            return await self._children.execute(attempt, running.note)
        except Exception:  # noqa: BLE001 - as the comment says
            # A defect ends this attempt; without an ending its lease would be kept for ever.
            _log.exception("attempt failed unexpectedly", job_id=attempt.job_id)
            return domain.INTERNAL_ERROR

    def _settle(self, running: Running, task: "asyncio.Task[Outcome]") -> None:
        """Take an attempt out of its slot; one that was stopped has no failure of its own."""
        del self._running[running.attempt.token]
        outcome: Outcome | Cancelled | Released | None
        outcome = None if task.cancelled() else task.result()
        if running.is_stopping and not isinstance(outcome, Generated):
            outcome = running.stopped_as
        if outcome is not None:
            self._end(running, outcome)
        self._metrics.busy_slots.set(len(self._running))
        self._wake.set()

    def _end(self, running: Running, outcome: Outcome | Cancelled | Released) -> None:
        attempt = running.attempt
        try:
            ending = domain.ending(attempt, outcome, running.took, self._policy)
        except Exception:  # noqa: BLE001 - a defect, as there
            _log.exception("outcome makes no event", job_id=attempt.job_id)
            ending = domain.ending(attempt, domain.INTERNAL_ERROR, running.took, self._policy)
        self._ended[attempt.token] = ending
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
            except PASSING_ERRORS as error:
                failures += 1
                _log.warning("endings not recorded yet", error=type(error).__name__)
                await asyncio.sleep(self._times.retry.delay(failures))

    async def _bounded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Work on the database for no longer than a beat may take; outlive what passes."""
        try:
            async with asyncio.timeout(self._times.beat_limit):
                await work()
        except PASSING_ERRORS as error:
            self._queue.put_off_reaping()
            _log.warning("beat failed", error=type(error).__name__)

    async def _is_cancel_heard(self, *, before: float) -> bool:
        """Wait until somebody says that attempts were cancelled, or until the next beat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(before - time.monotonic()):
                await self._has_cancels.wait()
        is_heard = self._has_cancels.is_set()
        self._has_cancels.clear()
        return is_heard and time.monotonic() < before

    async def _beat(self) -> None:
        await self._renew()
        await self._queue.reap()
        await self._queue.expire()
        if time.monotonic() - self._counted_at >= self._times.count_every:
            await self._queue.count()
            self._counted_at = time.monotonic()

    async def _renew(self) -> None:
        """Keep what runs here and what ended here but isn't recorded, and tell its progress.

        Stop what was cancelled or taken away.
        """
        attempts = [running.attempt for running in self._running.values()]
        attempts += [ending.attempt for ending in self._ended.values()]
        reports = [r for r in (running.report() for running in self._running.values()) if r]
        renewal = await self._queue.renew(attempts, reports)
        for report in reports:
            if running := self._running.get(report.attempt.token):
                running.told(report)
        self._stop(renewal.cancelled, Cancelled())
        self._stop(renewal.taken_away, None)

    def _stop(self, attempts: Sequence[Attempt], stopped_as: Cancelled | None) -> None:
        """Begin to stop attempts; their slots are free when they are gone."""
        for attempt in attempts:
            running = self._running.get(attempt.token)
            if running is not None and running.stop(stopped_as):
                event = "attempt cancelled" if stopped_as else "lease lost"
                _log.warning(event, job_id=attempt.job_id, attempt=attempt.attempt)
