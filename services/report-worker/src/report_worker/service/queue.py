"""Each change of the queue, in one transaction with the events that tell of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from report_worker import domain, store
from report_worker.domain import Attempt, Ending, NewRun, RetryPolicy
from report_worker.metrics import WorkerMetrics
from report_worker.service.reporting import report_ending
from shared import outbox
from shared.clock import Clock
from shared.database import positions
from shared.database.pool import Connection, Database
from shared.database.positions import Progress
from shared.events import JobEvent, OutgoingMessage, encode
from shared.outbox import Outbox

_SOURCE: Final = "report-worker"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class QueueTimes:
    """All in seconds: the time a lease holds, and how often it is renewed."""

    lease: float
    beat: float


@dataclass(frozen=True, slots=True)
class Rejection:
    """A run that intake refuses, and why."""

    run: NewRun
    reason: str


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
        self._reaps_after = 0.0

    async def take_in(
        self,
        runs: Sequence[NewRun],
        rejections: Sequence[Rejection],
        progress: Progress,
        *,
        free_slots: int,
    ) -> list[Attempt]:
        """Store what is new, and begin at once what there are slots for."""
        async with self._database.transaction() as conn:
            rejected = await self._reject(conn, rejections)
            added = await store.insert(conn, runs, state="queued")
            attempts, begun = await self._claim(conn, free_slots)
            if len(added) > len(attempts):
                await store.notify_queued(conn)
            messages = [*rejected, *begun]
            await outbox.add(conn, messages)
            await positions.save(conn, progress)
        self._outbox.publish(messages)
        self._metrics.taken_in.inc(len(added))
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

        Not in the two beats after this worker itself couldn't reach the database: then the
        others couldn't either, and they get the chance to renew first.
        """
        if time.monotonic() < self._reaps_after:
            return
        async with self._database.transaction() as conn:
            expired = await store.expired(conn, grace=2 * self._times.beat)
            endings = [
                domain.lost(attempt, seen_at - attempt.started_at, self._policy)
                for attempt, seen_at in expired
            ]
            counted = await self._finish(conn, endings)
            if endings:
                await store.notify_queued(conn)
        self._outbox.publish([message for _, message in counted])
        self._report(endings, counted)

    def put_off_reaping(self) -> None:
        """Say that the database could not be reached."""
        self._reaps_after = time.monotonic() + 2 * self._times.beat

    async def count(self) -> None:
        """Bring the gauges of queued and running runs up to date."""
        async with self._database.connection() as conn:
            counts = await store.counts(conn)
        self._metrics.queued.set(counts.get("queued", 0))
        self._metrics.running.set(counts.get("running", 0))

    async def _reject(
        self, conn: Connection, rejections: Sequence[Rejection]
    ) -> list[OutgoingMessage]:
        added = await store.insert(conn, [r.run for r in rejections], state="ended")
        messages = []
        for rejection in rejections:
            run = rejection.run
            if (run.job_id, run.run) in added:
                now = self._clock()
                event = domain.rejected(run, rejection.reason, now)
                messages.append(
                    encode(event, source=_SOURCE, time=now, traceparent=run.traceparent)
                )
                self._metrics.attempts.labels("REQUEST_REJECTED").inc()
                _log.warning("request rejected", job_id=run.job_id, reason=rejection.reason)
        return messages

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


def _message(attempt: Attempt, event: JobEvent, time_: datetime) -> OutgoingMessage:
    return encode(event, source=_SOURCE, time=time_, traceparent=attempt.traceparent)
