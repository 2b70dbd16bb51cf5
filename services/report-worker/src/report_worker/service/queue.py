"""Each change of the queue, in one transaction with the events that tell of it."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from report_worker import domain, store
from report_worker.domain import (
    Attempt,
    Cancelled,
    Ending,
    Lost,
    NewRun,
    ProgressReport,
    Request,
    RetryPolicy,
)
from report_worker.metrics import WorkerMetrics
from report_worker.service.database_clock import DatabaseClock
from report_worker.service.hearsay import Hearsay
from report_worker.service.messages import message
from report_worker.service.reporting import report_ending, report_unattempted
from report_worker.service.requests import EndedRun, apply
from report_worker.service.turns import Turns
from report_worker.store import Arrival
from shared import outbox
from shared.clock import Clock
from shared.database import positions
from shared.database.pool import Connection, Database
from shared.database.positions import Progress
from shared.events import OutgoingMessage
from shared.outbox import Outbox

_EXPIRED_AT_ONCE: Final = 1000
_REAPED_AT_ONCE: Final = 100

_Told = list[tuple[Ending, OutgoingMessage]]


@dataclass(frozen=True, slots=True)
class QueueTimes:
    """All in seconds."""

    lease: float
    """How long a lease holds."""
    grace: float
    """How long nobody is reaped after an outage of the database, so that all can renew first."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What a batch of the log brings: requests, in their order."""

    progress: Progress
    requests: list[Request] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a beat learns of the attempts that it renews."""

    taken_away: list[Attempt] = field(default_factory=list)
    """Those that are no longer ours."""
    cancelled: list[Attempt] = field(default_factory=list)
    """Those that are to be stopped."""


class Queue:
    """Intake, claim, finish, renew, reap and expire; `worker` names this process in events.

    No tenant has more than `tenant_limit` attempts running, over all workers.
    """

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
        tenant_limit: int | None = None,
        new_token: Callable[[], UUID] = lambda: UUID(bytes=secrets.token_bytes(16), version=4),
    ) -> None:
        self._database = database
        self._outbox = outbox_
        self._policy = policy
        self._times = times
        self._worker = worker
        self._clock = clock
        self._metrics = metrics
        self._tenant_limit = tenant_limit
        self._new_token = new_token
        self._hearsay = Hearsay()
        self._turns = Turns()
        self._database_clock = DatabaseClock()
        # What this process missed before it started may have been an outage.
        self.put_off_reaping()

    def hear_of_waiting(self) -> None:
        """Say that runs may wait to be claimed."""
        self._hearsay.hear()

    async def take_in(self, intake: Intake, *, free_slots: int) -> list[Attempt]:
        """Let requests take effect, and begin at once what there are slots for."""
        arrivals = self._arrivals(intake, free_slots)
        if arrivals is not None:
            return await self._begin(arrivals, intake.progress)
        async with self._database.transaction() as conn:
            effects = await apply(conn, intake.requests, self._clock())
            attempts, begun = await self._claim(conn, free_slots)
            if effects.queued - {(attempt.job_id, attempt.run) for attempt in attempts}:
                self._hearsay.hear()
                await store.notify(conn, store.QUEUED)
            if effects.is_any_to_stop:
                await store.notify(conn, store.CANCELLED)
            messages = [*(ended.message for ended in effects.ended), *begun]
            await outbox.add(conn, messages)
            await positions.save(conn, intake.progress)
        self._outbox.publish(messages, has_hurry=bool(effects.ended))
        self._metrics.taken_in.inc(len(effects.queued))
        self._report_unattempted(effects.ended)
        return attempts

    async def claim(self, *, free_slots: int) -> list[Attempt]:
        """Begin what is due."""
        async with self._database.transaction() as conn:
            attempts, messages = await self._claim(conn, free_slots)
            await outbox.add(conn, messages)
        self._outbox.publish(messages, has_hurry=False)
        return attempts

    async def finish(self, endings: Sequence[Ending], *, free_slots: int) -> list[Attempt]:
        """End attempts, and begin others in their slots."""
        is_nobody_to_begin = free_slots < 1 or self._hearsay.is_quiet
        if is_nobody_to_begin and not any(ending.is_due_at_once for ending in endings):
            await self._finish_quietly(endings)
            return []
        async with self._database.transaction() as conn:
            counted = await self._finish(conn, endings)
            attempts, begun = await self._claim(conn, free_slots)
            if _due_at_once(counted) - {(attempt.job_id, attempt.run) for attempt in attempts}:
                self._hearsay.hear()
                await store.notify(conn, store.QUEUED)
            await outbox.add(conn, begun)
        self._outbox.publish([*(message for _, message in counted), *begun])
        self._report(endings, counted)
        return attempts

    async def renew(
        self, attempts: Sequence[Attempt], progress: Sequence[ProgressReport] = ()
    ) -> Renewal:
        """Prolong the leases of what runs here, and tell how far it has come."""
        if not attempts:
            return Renewal()
        events = [domain.progressed(report, self._worker) for report in progress]
        messages = {
            report.attempt.token: message(report.attempt, event, event.progressed_at)
            for report, event in zip(progress, events, strict=True)
        }
        async with self._database.connection() as conn:
            held = await store.renew(conn, attempts, messages, lease=self._times.lease)
        self._outbox.publish(
            [told for token, told in messages.items() if token in held.free], has_hurry=False
        )
        return Renewal(
            taken_away=[attempt for attempt in attempts if attempt.token not in held.tokens],
            cancelled=[attempt for attempt in attempts if attempt.token in held.cancelled],
        )

    async def reap(self) -> None:
        """End the attempts of workers that fell silent, so many in each transaction.

        Not while an outage may have kept them from renewing: within the grace after the database
        or this process started, or after this process couldn't reach the database.
        """
        if time.monotonic() < self._reaps_after:
            return
        while await self._reap_some() == _REAPED_AT_ONCE:
            pass

    async def _reap_some(self) -> int:
        async with self._database.transaction() as conn:
            endings = [
                domain.ending(
                    one.attempt,
                    Cancelled() if one.is_cancelled else Lost(),
                    one.seen_at - one.attempt.started_at,
                    self._policy,
                )
                for one in await store.expired(conn, grace=self._times.grace, limit=_REAPED_AT_ONCE)
            ]
            counted = await self._finish(conn, endings)
            if counted:
                await store.notify(conn, store.QUEUED)
        self._outbox.publish([message for _, message in counted])
        self._report(endings, counted)
        return len(counted)

    def put_off_reaping(self) -> None:
        """Say that the database could not be reached."""
        self._reaps_after = time.monotonic() + self._times.grace

    async def expire(self) -> None:
        """End runs whose first attempt hasn't begun in time, so many at once."""
        async with self._database.transaction() as conn:
            overdue = await store.overdue(conn, limit=_EXPIRED_AT_ONCE)
            if overdue is None:
                return
            ended = [EndedRun(r, domain.expired(r, overdue.seen_at)) for r in overdue.runs]
            await store.end_waiting(conn, overdue.runs)
            messages = [one.message for one in ended]
            await outbox.add(conn, messages)
        self._outbox.publish(messages)
        self._report_unattempted(ended)

    async def count(self) -> None:
        """Bring the gauges of queued and running runs up to date."""
        async with self._database.connection() as conn:
            asked_at = time.monotonic()
            counts = await store.counts(conn)
        self._database_clock.observe(counts.counted_at, asked_at=asked_at)
        self._metrics.queued.set(counts.queued)
        self._metrics.running.set(counts.running)

    async def _claim(
        self, conn: Connection, free_slots: int
    ) -> tuple[list[Attempt], list[OutgoingMessage]]:
        if free_slots < 1:
            return [], []
        rumours = self._hearsay.rumours
        attempts = await store.claim(
            conn,
            limit=free_slots,
            lease=self._times.lease,
            tenant_limit=self._tenant_limit,
            served=self._turns.served,
        )
        self._turns.serve(attempt.tenant for attempt in attempts)
        # Under a limit per tenant, runs may wait although there is room for them.
        is_any_left = len(attempts) == free_slots or self._tenant_limit is not None
        self._hearsay.learn(is_any_left=is_any_left, rumours=rumours)
        return attempts, [
            message(attempt, domain.started(attempt, self._worker), attempt.started_at)
            for attempt in attempts
        ]

    def _arrivals(self, intake: Intake, free_slots: int) -> list[Arrival] | None:
        """Return what a batch brings; None unless all of it can begin and nothing waits."""
        now = self._database_clock.now()
        if now is None or not self._hearsay.is_quiet or self._tenant_limit:
            return None
        runs = domain.first_runs(intake.requests)
        if runs is None or len(runs) > free_slots or any(run.start_by <= now for run in runs):
            return None
        return [self._arrival(run, now) for run in runs]

    def _arrival(self, run: NewRun, now: datetime) -> Arrival:
        attempt = domain.first_attempt(run, self._new_token(), now)
        return Arrival(run, attempt, message(run, domain.started(attempt, self._worker), now))

    async def _begin(self, arrivals: Sequence[Arrival], progress: Progress) -> list[Attempt]:
        async with self._database.connection() as conn:
            begun = await store.begin(conn, arrivals, progress, lease=self._times.lease)
        self._outbox.publish([arrival.message for arrival in begun], has_hurry=False)
        self._metrics.taken_in.inc(len(begun))
        self._turns.serve(arrival.attempt.tenant for arrival in begun)
        return [arrival.attempt for arrival in begun]

    async def _finish_quietly(self, endings: Sequence[Ending]) -> None:
        """End attempts that none follows; each statement is a transaction."""
        async with self._database.connection() as conn:
            counted = await self._finish(conn, endings)
        self._outbox.publish([message for _, message in counted])
        self._report(endings, counted)

    async def _finish(self, conn: Connection, endings: Sequence[Ending]) -> _Told:
        """Store endings; those that would have a cancelled run go on become its end."""
        if not endings:
            return []
        counted = await store.finish(conn, [_told(ending) for ending in endings])
        tokens = _tokens(counted)
        stopped = [
            _told(domain.ending(ending.attempt, Cancelled(), ending.took, self._policy))
            for ending in endings
            if ending.retry_at is not None and ending.attempt.token not in tokens
        ]
        return counted + await store.finish(conn, stopped) if stopped else counted

    def _report(self, endings: Sequence[Ending], counted: _Told) -> None:
        tokens = _tokens(counted)
        for ending, _ in counted:
            report_ending(ending, self._metrics, counted=True)
        for ending in endings:
            if ending.attempt.token not in tokens:
                report_ending(ending, self._metrics, counted=False)

    def _report_unattempted(self, ended: Sequence[EndedRun]) -> None:
        for one in ended:
            report_unattempted(one.run, one.event, self._metrics)


def _told(ending: Ending) -> tuple[Ending, OutgoingMessage]:
    return ending, message(ending.attempt, ending.event, ending.ended_at)


def _tokens(told: _Told) -> set[object]:
    return {ending.attempt.token for ending, _ in told}


def _due_at_once(counted: _Told) -> set[tuple[str, int]]:
    return {
        (ending.attempt.job_id, ending.attempt.run)
        for ending, _ in counted
        if ending.is_due_at_once
    }
