"""Each change of the queue, in one transaction with the events that tell of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from report_worker import domain, store
from report_worker.domain import Attempt, Ending, NewRun, RetryPolicy
from report_worker.metrics import WorkerMetrics
from report_worker.service.reporting import report_ending, report_rejection
from shared import outbox
from shared.clock import Clock
from shared.database import positions
from shared.database.pool import Connection, Database
from shared.database.positions import Progress
from shared.events import JobEvent, OutgoingMessage, encode
from shared.outbox import Outbox

_SOURCE: Final = "report-worker"


@dataclass(frozen=True, slots=True)
class QueueTimes:
    """All in seconds."""

    lease: float
    """How long a lease holds."""
    grace: float
    """How long nobody is reaped after an outage of the database, so that all can renew first."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A run that intake refuses, and why."""

    run: NewRun
    reason: str


@dataclass(frozen=True, slots=True)
class Intake:
    """What a batch of the log brings: runs to execute, runs to refuse, and dead letters."""

    progress: Progress
    runs: list[NewRun] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    letters: list[OutgoingMessage] = field(default_factory=list)


class Queue:
    """Intake, claim, finish, renew and reap; `worker` names this process in JobStarted."""

    def __init__(
        self,
        database: Database,
        outbox_: Outbox,
        *,
        policy: RetryPolicy,
        times: QueueTimes,
        worker: str,
        clock: Clock,
        metrics: WorkerMetrics,
    ) -> None:
        self._database = database
        self._outbox = outbox_
        self._policy = policy
        self._times = times
        self._worker = worker
        self._clock = clock
        self._metrics = metrics
        # What this process missed before it started may have been an outage.
        self.put_off_reaping()

    async def take_in(self, intake: Intake, *, free_slots: int) -> list[Attempt]:
        """Store what is new, and begin at once what there are slots for."""
        async with self._database.transaction() as conn:
            refused = await self._reject(conn, intake.rejections)
            added = await store.insert(conn, intake.runs, state="queued")
            attempts, begun = await self._claim(conn, free_slots)
            if added - {(attempt.job_id, attempt.run) for attempt in attempts}:
                await store.notify_queued(conn)
            messages = [*intake.letters, *(message for _, message in refused), *begun]
            await outbox.add(conn, messages)
            await positions.save(conn, intake.progress)
        self._outbox.publish(messages)
        self._metrics.taken_in.inc(len(added))
        for rejection, _ in refused:
            report_rejection(rejection.run, rejection.reason, self._metrics)
        return attempts

    async def claim(self, *, free_slots: int) -> list[Attempt]:
        """Begin what is due."""
        async with self._database.transaction() as conn:
            attempts, messages = await self._claim(conn, free_slots)
            await outbox.add(conn, messages)
        self._outbox.publish(messages)
        return attempts

    async def finish(self, endings: Sequence[Ending], *, free_slots: int) -> list[Attempt]:
        """End attempts, and begin others in their slots."""
        async with self._database.transaction() as conn:
            counted = await self._finish(conn, endings)
            attempts, begun = await self._claim(conn, free_slots)
            if _due_at_once(counted) - {(attempt.job_id, attempt.run) for attempt in attempts}:
                await store.notify_queued(conn)
            await outbox.add(conn, begun)
        self._outbox.publish([*(message for _, message in counted), *begun])
        self._report(endings, counted)
        return attempts

    async def renew(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Prolong the leases of what runs here; return the attempts that are no longer ours."""
        if not attempts:
            return []
        async with self._database.connection() as conn:
            held = await store.renew(conn, attempts, lease=self._times.lease)
        return [attempt for attempt in attempts if attempt.token not in held]

    async def reap(self) -> None:
        """End the attempts of workers that fell silent.

        Not while an outage may have kept them from renewing: within the grace after the database
        or this process started, or after this process couldn't reach the database.
        """
        if time.monotonic() < self._reaps_after:
            return
        async with self._database.transaction() as conn:
            expired = await store.expired(conn, grace=self._times.grace)
            endings = [
                domain.lost(attempt, seen_at - attempt.started_at, self._policy)
                for attempt, seen_at in expired
            ]
            counted = await self._finish(conn, endings)
            if counted:
                await store.notify_queued(conn)
        self._outbox.publish([message for _, message in counted])
        self._report(endings, counted)

    def put_off_reaping(self) -> None:
        """Say that the database could not be reached."""
        self._reaps_after = time.monotonic() + self._times.grace

    async def count(self) -> None:
        """Bring the gauges of queued and running runs up to date."""
        async with self._database.connection() as conn:
            counts = await store.counts(conn)
        self._metrics.queued.set(counts.queued)
        self._metrics.running.set(counts.running)

    async def _reject(
        self, conn: Connection, rejections: Sequence[Rejection]
    ) -> list[tuple[Rejection, OutgoingMessage]]:
        added = await store.insert(conn, [r.run for r in rejections], state="ended")
        now = self._clock()
        return [
            (r, _message(r.run, domain.rejected(r.run, r.reason, now), now))
            for r in rejections
            if (r.run.job_id, r.run.run) in added
        ]

    async def _claim(
        self, conn: Connection, free_slots: int
    ) -> tuple[list[Attempt], list[OutgoingMessage]]:
        if free_slots < 1:
            return [], []
        attempts = await store.claim(conn, limit=free_slots, lease=self._times.lease)
        return attempts, [
            _message(attempt, domain.started(attempt, self._worker), attempt.started_at)
            for attempt in attempts
        ]

    async def _finish(
        self, conn: Connection, endings: Sequence[Ending]
    ) -> list[tuple[Ending, OutgoingMessage]]:
        if not endings:
            return []
        pairs = [(e, _message(e.attempt, e.event, e.ended_at)) for e in endings]
        return await store.finish(conn, pairs)

    def _report(
        self, endings: Sequence[Ending], counted: Sequence[tuple[Ending, OutgoingMessage]]
    ) -> None:
        tokens = {ending.attempt.token for ending, _ in counted}
        for ending in endings:
            report_ending(ending, self._metrics, counted=ending.attempt.token in tokens)


def _due_at_once(counted: Sequence[tuple[Ending, OutgoingMessage]]) -> set[tuple[str, int]]:
    return {
        (ending.attempt.job_id, ending.attempt.run)
        for ending, _ in counted
        if ending.is_due_at_once
    }


def _message(of: Attempt | NewRun, event: JobEvent, time_: datetime) -> OutgoingMessage:
    return encode(event, source=_SOURCE, time=time_, traceparent=of.traceparent)
