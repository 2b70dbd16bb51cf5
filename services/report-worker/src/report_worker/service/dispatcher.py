"""Runs what the queue claimed, in a bounded number of slots, and keeps its leases."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog

from report_worker import domain
from report_worker.domain import Attempt, Ending, Outcome, RetryPolicy
from report_worker.metrics import WorkerMetrics
from report_worker.service.queue import Queue
from shared.backoff import Backoff
from shared.database.pool import TRANSIENT_ERRORS
from shared.telemetry.probes import Heartbeat

_log = structlog.get_logger()


class Executes(Protocol):
    """What the dispatcher needs of the children; cancelling stops the attempt at once."""

    async def execute(self, attempt: Attempt) -> Outcome:
        """Run one attempt to its outcome."""
        ...


@dataclass(slots=True)
class _Running:
    attempt: Attempt
    since: float = field(default_factory=time.monotonic)
    task: "asyncio.Task[None] | None" = None

    @property
    def took(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self.since)


class Dispatcher:
    """The slots of one worker process."""

    def __init__(
        self,
        queue: Queue,
        children: Executes,
        *,
        slots: int,
        beat: float,
        policy: RetryPolicy,
        metrics: WorkerMetrics,
        heartbeat: Heartbeat,
    ) -> None:
        self._queue = queue
        self._children = children
        self._slots = slots
        self._beat = beat
        self._policy = policy
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._running: dict[UUID, _Running] = {}
        self._ended: list[Ending] = []
        self._reserved = 0
        self._is_draining = False
        self._wake = asyncio.Event()
        self._retry = Backoff(first=0.1, longest=5.0)

    @contextmanager
    def reservation(self) -> Iterator[int]:
        """Hold the free slots while a transaction claims for them; gives how many they are."""
        free = 0 if self._is_draining else self._slots - len(self._running) - self._reserved
        free = max(0, free)
        self._reserved += free
        try:
            yield free
        finally:
            self._reserved -= free

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Begin to execute claimed attempts; call inside the reservation they were claimed in."""
        for attempt in attempts:
            running = _Running(attempt)
            self._running[attempt.token] = running
            running.task = asyncio.create_task(self._execute(running))
        self._metrics.busy_slots.set(len(self._running))

    def wake(self) -> None:
        """Say that runs may be due."""
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
            except TRANSIENT_ERRORS as error:
                failures += 1
                _log.warning("endings not recorded yet", error=type(error).__name__)
                await asyncio.sleep(self._retry.delay(failures))
                self._wake.set()

    async def run_beat(self) -> None:
        """Renew leases, reap those of lost workers and look for due runs, once a beat."""
        while True:
            started = time.monotonic()
            self._heartbeat.beat()
            try:
                await self._renew()
                await self._queue.reap()
                await self._queue.count()
            except TRANSIENT_ERRORS as error:
                self._queue.put_off_reaping()
                _log.warning("beat failed", error=type(error).__name__)
            self._wake.set()
            await asyncio.sleep(max(0.0, self._beat - (time.monotonic() - started)))

    async def drain(self, budget: float) -> None:
        """Claim no more; let attempts run on for `budget` seconds, then give them back."""
        self._is_draining = True
        tasks = [running.task for running in self._running.values() if running.task]
        if tasks:
            _log.info("draining", running=len(tasks), budget=budget)
            await asyncio.wait(tasks, timeout=budget)
        for running in list(self._running.values()):
            await self._stop(running)
            self._ended.append(domain.released(running.attempt, running.took))
        try:
            await self._record_and_claim()
        except TRANSIENT_ERRORS as error:
            # Other workers take these runs over when the leases run out.
            _log.error("runs not given back", error=type(error).__name__, runs=len(self._ended))

    async def _execute(self, running: _Running) -> None:
        outcome = await self._children.execute(running.attempt)
        del self._running[running.attempt.token]
        self._ended.append(domain.ending(running.attempt, outcome, running.took, self._policy))
        self._metrics.busy_slots.set(len(self._running))
        self._wake.set()

    async def _record_and_claim(self) -> None:
        endings = list(self._ended)
        with self.reservation() as free:
            if endings:
                attempts = await self._queue.finish(endings, free_slots=free)
            elif free:
                attempts = await self._queue.claim(free_slots=free)
            else:
                return
            del self._ended[: len(endings)]
            self.start(attempts)

    async def _renew(self) -> None:
        """Keep what runs here and what ended here but isn't recorded; stop what was taken away."""
        attempts = [running.attempt for running in self._running.values()]
        attempts += [ending.attempt for ending in self._ended]
        for attempt in await self._queue.renew(attempts):
            running = self._running.get(attempt.token)
            if running is not None:
                _log.warning("lease lost", job_id=attempt.job_id, attempt=attempt.attempt)
                await self._stop(running)

    async def _stop(self, running: _Running) -> None:
        if running.task is not None:
            running.task.cancel()
            await asyncio.wait((running.task,))
        self._running.pop(running.attempt.token, None)
        self._metrics.busy_slots.set(len(self._running))
