"""The life of a delivery, one transaction per step; what happens in between holds nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from notifier import store
from notifier.domain import (
    Attempt,
    AttemptResult,
    Delivered,
    Ending,
    ErrorClass,
    NewDelivery,
    Retry,
    RetrySchedule,
    judge,
)
from notifier.metrics import NotifierMetrics
from shared import outbox
from shared.clock import Clock
from shared.database import positions
from shared.database.pool import Database
from shared.database.positions import Progress
from shared.events import OutgoingMessage, WebhookDelivered, WebhookExhausted, encode
from shared.outbox import Outbox
from shared.telemetry.trace import trace_id

SOURCE: Final = "notifier"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """How deliveries are claimed and retried; times are in seconds.

    `per_destination` bounds what one destination has in flight, over all notifiers. Right after a
    restart of the database, notifiers get `restart_grace` to record what ended meanwhile.
    """

    schedule: RetrySchedule
    per_destination: int
    lease: float
    restart_grace: float = 10.0


class Deliveries:
    """Stores, claims and ends deliveries, and tells of their ends through the outbox."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        rules: DeliveryRules,
        *,
        clock: Clock,
        chance: Callable[[], float],
        metrics: NotifierMetrics,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._rules = rules
        self._clock = clock
        self._chance = chance
        self._metrics = metrics

    async def take_in(self, deliveries: Sequence[NewDelivery], progress: Progress) -> int:
        """Store deliveries together with the consumer's position; return how many were new."""
        if not deliveries:
            async with self._database.connection() as conn:
                await positions.save_alone(conn, progress)
            return 0
        async with self._database.transaction() as conn:
            new = await store.insert(conn, deliveries)
            await positions.save(conn, progress)
        self._metrics.taken_in.inc(new)
        return new

    async def claim(self, limit: int) -> list[Attempt]:
        """Begin up to `limit` attempts, each under a lease."""
        async with self._database.transaction() as conn:
            return await store.claim(
                conn,
                limit=limit,
                per_destination=self._rules.per_destination,
                lease=self._rules.lease,
            )

    async def seconds_until_due(self) -> float | None:
        """Return when there will be something to claim, or None where nothing is pending."""
        async with self._database.connection() as conn:
            return await store.seconds_until_due(conn, per_destination=self._rules.per_destination)

    async def end(self, results: Sequence[tuple[Attempt, AttemptResult]]) -> None:
        """Record what the attempts came to and what follows, with the events of those that ended.

        An attempt whose lease another process has ended already is left as that one recorded it.
        """
        endings = [self._ending(attempt, result) for attempt, result in results]
        async with self._database.transaction() as conn:
            counted = await store.end(conn, endings)
            messages = [m for e in counted if (m := self._message(e)) is not None]
            await outbox.add(conn, messages)
        self._outbox.publish(messages)
        tokens = {ending.attempt.token for ending in counted}
        for ending in endings:
            self._report(ending, is_counted=ending.attempt.token in tokens)

    async def end_expired(self, alive: Sequence[UUID] = ()) -> int:
        """End attempts whose notifier fell silent: the outcome is unknown, so send again.

        `alive` are the tokens of attempts that this process knows to be under way.
        """
        async with self._database.connection() as conn:
            expired = await store.expired(conn, alive=alive, grace=self._rules.restart_grace)
        if expired:
            await self.end([(attempt, interrupted()) for attempt in expired])
        return len(expired)

    async def measure(self) -> None:
        """Bring the gauges of the backlog up to date."""
        async with self._database.connection() as conn:
            counts = await store.counts(conn)
        self._metrics.pending.set(counts.get("pending", 0))
        self._metrics.in_flight.set(counts.get("in_flight", 0))

    def _ending(self, attempt: Attempt, result: AttemptResult) -> Ending:
        verdict = judge(result, attempt.number, self._clock(), self._rules.schedule, self._chance())
        return Ending(attempt, result, verdict)

    def _message(self, ending: Ending) -> OutgoingMessage | None:
        """Return the event that tells of a delivery's end."""
        if isinstance(ending.verdict, Retry):
            return None
        attempt, job, now = ending.attempt, ending.attempt.job, self._clock()
        about = {
            "job_id": job.job_id,
            "tenant": job.tenant,
            "created_at": job.created_at,
            "report_type": job.report_type,
            "format": job.format,
            "run": job.run,
            "webhook_id": attempt.webhook_id,
            "attempts": attempt.number,
        }
        event: WebhookDelivered | WebhookExhausted
        if isinstance(ending.verdict, Delivered):
            event = WebhookDelivered(
                **about, delivered_at=now, status_code=ending.result.status or 0
            )
        else:
            event = WebhookExhausted(**about, exhausted_at=now, reason=ending.outcome)
        return encode(event, source=SOURCE, time=now, traceparent=job.traceparent)

    def _report(self, ending: Ending, *, is_counted: bool) -> None:
        attempt, result = ending.attempt, ending.result
        if is_counted:
            self._metrics.attempts.labels(ending.outcome).inc()
            self._metrics.latency.observe(result.latency.total_seconds())
        retry = ending.verdict.delay.total_seconds() if isinstance(ending.verdict, Retry) else None
        _log.info(
            "webhook attempt" if is_counted else "webhook attempt ended too late to count",
            job_id=attempt.job.job_id,
            run=attempt.job.run,
            webhook_id=attempt.webhook_id,
            trace_id=trace_id(attempt.job.traceparent),
            host=_host(attempt.url),
            attempt=attempt.number,
            status=result.status,
            error=result.error,
            detail=result.detail or None,
            latency_ms=round(result.latency / timedelta(milliseconds=1)),
            state=ending.state,
            retry_in_seconds=retry,
        )


def interrupted() -> AttemptResult:
    """Return the result of an attempt that nobody saw the end of."""
    return AttemptResult(
        ErrorClass.UNKNOWN, timedelta(0), detail="the notifier stopped during the attempt"
    )


def _host(url: str) -> str | None:
    """Return the host for a log line; the rest of a URL may hold what is secret."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
