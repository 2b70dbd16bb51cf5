"""The attempts that a worker process holds, from their claim until their end is recorded."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import structlog

from report_worker import domain
from report_worker.domain import (
    Attempt,
    Cancelled,
    Ending,
    Generated,
    Outcome,
    Pace,
    ProgressReport,
    Released,
    RetryPolicy,
)
from report_worker.metrics import WorkerMetrics
from report_worker.service.running import Running
from shared.events import Progress

_PATIENCE: Final = 1.0
"""Seconds that an attempt may wait for a slot before it is given back."""

_log = structlog.get_logger()


class Executes(Protocol):
    """What the slots need of the children; cancelling stops the attempt within seconds."""

    @property
    def capacity(self) -> int:
        """How many attempts can execute at this moment, those that do included."""
        ...

    async def execute(self, attempt: Attempt, on_progress: Callable[[Progress], None]) -> Outcome:
        """Run one attempt to its outcome within its type's limit; tell how far it has come."""
        ...


class Slots:
    """As many attempts run as there are children; a few more wait where slots free in no time.

    An attempt waits, runs or has ended, one of the three, and leaves when its end is recorded.
    """

    def __init__(
        self,
        children: Executes,
        *,
        policy: RetryPolicy,
        metrics: WorkerMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = children
        self._policy = policy
        self._metrics = metrics
        self._monotonic = monotonic
        self._pace = Pace()
        self._waiting: dict[UUID, Running] = {}
        self._running: dict[UUID, Running] = {}
        self._ended: dict[UUID, Ending] = {}
        self._reserved = 0
        self._is_closed = False
        self.changed = asyncio.Event()
        """Set when ends are to be recorded and others claimed.

        While slots are fed by what waits, that is when enough has gathered for both to be worth a
        transaction; nobody's client waits for it meanwhile but those of a long queue.
        """

    @contextmanager
    def reservation(self) -> Iterator[int]:
        """Hold room while a transaction claims for it; gives for how many attempts there is."""
        room = self._room()
        self._reserved += room
        try:
            yield room
        finally:
            self._reserved -= room

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Take in claimed attempts; call inside the reservation they were claimed in."""
        for attempt in attempts:
            running = Running(attempt, self._monotonic)
            if self._is_closed:
                self._end(running, Released())
                self.changed.set()
            else:
                self._waiting[attempt.token] = running
        self.fill()

    def fill(self) -> None:
        """Begin to execute what waits, as far as there are slots."""
        while self._waiting and len(self._running) < self._children.capacity:
            running = self._next()
            self._running[running.attempt.token] = running
            task = asyncio.create_task(self._execute(running))
            running.begin(task)
            task.add_done_callback(partial(self._settle, running))
        self._metrics.busy_slots.set(len(self._running))

    @property
    def held(self) -> list[Attempt]:
        """All attempts whose leases are ours to keep, those included that ended unrecorded."""
        going_on = [one.attempt for one in (*self._running.values(), *self._waiting.values())]
        return going_on + [ending.attempt for ending in self._ended.values()]

    @property
    def tasks(self) -> list["asyncio.Task[object]"]:
        """What runs the attempts."""
        return [running.task for running in self._running.values() if running.task]

    def reports(self) -> list[ProgressReport]:
        """Return the progress that is to be told."""
        return [report for one in self._running.values() if (report := one.report())]

    def told(self, reports: Sequence[ProgressReport]) -> None:
        """Note that reports were stored."""
        for report in reports:
            if running := self._running.get(report.attempt.token):
                running.told(report)

    @property
    def endings(self) -> list[Ending]:
        """Ends that are to be recorded."""
        return list(self._ended.values())

    def recorded(self, endings: Sequence[Ending]) -> None:
        """Note that ends were recorded."""
        for ending in endings:
            del self._ended[ending.attempt.token]

    def stop(self, attempts: Sequence[Attempt], stopped_as: Cancelled | None) -> None:
        """Begin to stop attempts, which are no longer ours to end unless they are cancelled.

        Their slots are free when they are gone.
        """
        for attempt in attempts:
            if self._stop(attempt.token, stopped_as):
                event = "attempt cancelled" if stopped_as else "lease lost"
                _log.warning(event, job_id=attempt.job_id, attempt=attempt.attempt)

    def give_back_what_waits_long(self) -> None:
        """Release what was claimed for a slot that didn't become free: others may have one."""
        for token, running in list(self._waiting.items()):
            if running.took.total_seconds() > _PATIENCE:
                self._stop(token, Released())

    def close(self) -> None:
        """Take in nothing more, and give back what has no slot yet."""
        self._is_closed = True
        for token in list(self._waiting):
            self._stop(token, Released())

    def give_back(self) -> None:
        """Begin to stop all that runs."""
        for running in list(self._running.values()):
            running.stop(Released())

    def _room(self) -> int:
        """Return how many attempts to claim: none until what waits is down to half of its most."""
        if self._is_closed:
            return 0
        slots = self._children.capacity
        slow = sum(Pace.is_slow(running.ran) for running in self._running.values())
        ahead = self._pace.ahead(max(0, slots - slow))
        room = slots + ahead - len(self._running) - len(self._waiting) - self._reserved
        return room if room > ahead // 2 else 0

    def _next(self) -> Running:
        """Take the next one out of those that wait: of the tenant with the fewest running here."""
        busy = Counter(running.attempt.tenant for running in self._running.values())
        running = min(self._waiting.values(), key=lambda waiting: busy[waiting.attempt.tenant])
        return self._waiting.pop(running.attempt.token)

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
        outcome: Outcome | Cancelled | None
        outcome = None if task.cancelled() else task.result()
        if not isinstance(outcome, Released):  # which waited for a child in vain
            self._pace.note(running.ran)
        if running.is_stopping and not isinstance(outcome, Generated):
            outcome = running.stopped_as
        if outcome is not None:
            self._end(running, outcome)
        self.fill()
        if running.is_stopping or not self._waiting or self._room():
            self.changed.set()

    def _stop(self, token: UUID, stopped_as: Cancelled | Released | None) -> bool:
        """Begin to stop an attempt, at once where it has no slot; false where there is no need."""
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            if stopped_as is not None:
                self._end(waiting, stopped_as)
            self.changed.set()
            return True
        running = self._running.get(token)
        return running is not None and running.stop(stopped_as)

    def _end(self, running: Running, outcome: Outcome | Cancelled) -> None:
        attempt = running.attempt
        try:
            ending = domain.ending(attempt, outcome, running.took, self._policy)
        except Exception:  # noqa: BLE001 - a defect, as there
            _log.exception("outcome makes no event", job_id=attempt.job_id)
            ending = domain.ending(attempt, domain.INTERNAL_ERROR, running.took, self._policy)
        self._ended[attempt.token] = ending
