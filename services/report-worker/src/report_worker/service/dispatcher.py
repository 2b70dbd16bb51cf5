"""The loops between queue and slots: ends recorded, freed slots filled, leases kept, drains."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from report_worker.domain import Cancelled
from report_worker.service.queue import Queue
from report_worker.service.slots import Slots
from shared.backoff import Backoff
from shared.database.pool import PASSING_ERRORS
from shared.telemetry.probes import Heartbeat

_log = structlog.get_logger()


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
    """Keeps the slots of one worker process supplied, and the queue told of what they do."""

    def __init__(
        self, queue: Queue, slots: Slots, *, times: DispatcherTimes, heartbeat: Heartbeat
    ) -> None:
        self._queue = queue
        self._slots = slots
        self._times = times
        self._heartbeat = heartbeat
        self._has_cancels = asyncio.Event()
        self._recording = asyncio.Lock()
        self._counted_at = float("-inf")

    def wake(self) -> None:
        """Say that runs may be due, or that a slot became free for them."""
        self._slots.changed.set()

    def wake_beat(self) -> None:
        """Say that attempts may have been cancelled."""
        self._has_cancels.set()

    async def run_finisher(self) -> None:
        """Record endings and fill the freed slots for ever.

        Each round takes all that ended during the last one's transaction.
        """
        failures = 0
        while True:
            await self._slots.changed.wait()
            self._slots.changed.clear()
            try:
                await self._record_and_claim()
                failures = 0
            except PASSING_ERRORS as error:
                failures += 1
                _log.warning("endings not recorded yet", error=type(error).__name__)
                await asyncio.sleep(self._times.retry.delay(failures))
                self._slots.changed.set()

    async def run_beat(self) -> None:
        """Renew leases, reap those of lost workers and look for due runs, once a beat.

        Between two beats it only renews, when it hears that attempts were cancelled.
        """
        while True:
            next_at = time.monotonic() + self._times.beat
            self._heartbeat.beat()
            await self._bounded(self._beat)
            self._slots.changed.set()
            while await self._is_cancel_heard(before=next_at):
                await self._bounded(self._renew)

    async def drain(self, budget: float) -> None:
        """Claim no more; let attempts run on for `budget` seconds, then give them back."""
        self._slots.close()
        if tasks := self._slots.tasks:
            _log.info("draining", running=len(tasks), budget=budget)
            await asyncio.wait(tasks, timeout=budget)
        left = self._slots.tasks
        self._slots.give_back()
        if left:
            await asyncio.wait(left, timeout=self._times.last_words)
        try:
            async with asyncio.timeout(self._times.last_words):
                await self._record_the_rest()
        except TimeoutError:
            # Other workers take these runs over when the leases run out.
            _log.error("endings not recorded", runs=len(self._slots.endings))

    async def _record_and_claim(self) -> None:
        async with self._recording:
            self._slots.fill()
            endings = self._slots.endings
            with self._slots.reservation() as room:
                if endings:
                    attempts = await self._queue.finish(endings, free_slots=room)
                elif room:
                    attempts = await self._queue.claim(free_slots=room)
                else:
                    return
                self._slots.recorded(endings)
                self._slots.start(attempts)

    async def _record_the_rest(self) -> None:
        failures = 0
        # A round that was under way when draining began may still bring claims to give back.
        while self._slots.endings or self._recording.locked():
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
        self._slots.give_back_what_waits_long()
        await self._queue.reap()
        await self._queue.expire()
        if time.monotonic() - self._counted_at >= self._times.count_every:
            await self._queue.count()
            self._counted_at = time.monotonic()

    async def _renew(self) -> None:
        """Keep all leases, and tell of progress; stop what was cancelled or taken away."""
        reports = self._slots.reports()
        renewal = await self._queue.renew(self._slots.held, reports)
        self._slots.told(reports)
        self._slots.stop(renewal.cancelled, Cancelled())
        self._slots.stop(renewal.taken_away, None)
