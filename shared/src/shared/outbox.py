"""The transactional outbox: an event is stored with the change that it tells of, then published.

There is no leader. After its commit a process publishes its own rows from memory, and deletes
them, several together, soon after their acknowledgement; rows that stay (a crash, a broker away)
are taken by any process's sweeper. So the order within a job is usual, not promised.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import structlog

from shared.backoff import Backoff
from shared.bus.publisher import BusUnavailableError
from shared.database.pool import PASSING_ERRORS, Connection, Database
from shared.events import OutgoingMessage
from shared.telemetry.metrics import OutboxMetrics

CREATE_V1: Final = """
CREATE TABLE outbox (
    event_id   uuid        PRIMARY KEY,
    topic      text        NOT NULL,
    key        bytea       NOT NULL,
    value      bytea       NOT NULL,
    headers    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""

INSERT: Final = """
INSERT INTO outbox (event_id, topic, key, value, headers)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::text[])
ON CONFLICT (event_id) DO NOTHING
"""

# The commit of this one statement doesn't wait for the disk: a deletion that a crash takes back
# means that the event is published once more.
_FORGET: Final = """
DELETE FROM outbox USING (SELECT set_config('synchronous_commit', 'off', true)) AS at_leisure
WHERE event_id = ANY($1::uuid[])
"""

_CLAIM_LEFT_BEHIND: Final = """
SELECT topic, key, value, headers FROM outbox
WHERE created_at < now() - make_interval(secs => $1)
ORDER BY created_at
LIMIT $2
FOR UPDATE SKIP LOCKED
"""

_BATCH: Final = 500
_PASSING: Final = (*PASSING_ERRORS, BusUnavailableError)
"""What the loops outlive; a schema that isn't migrated yet is among it."""

_log = structlog.get_logger()


class Publishes(Protocol):
    """What the outbox needs of the bus."""

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        """Write `messages` in order; return those that the broker acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class OutboxTimes:
    """All in seconds."""

    left_behind_after: float = 5.0
    sweep_every: float = 2.0
    forget_after: float = 0.5
    """When the row of an acknowledged message is deleted: a deletion of many costs as one of one.
    Far below `left_behind_after`, after which it would be published again."""
    company: float = 0.02
    """How long a message without hurry waits for one that has it, and is published with it."""


def columns(messages: Sequence[OutgoingMessage]) -> tuple[list[object], ...]:
    """Return the arguments of `INSERT`, for callers that embed it in a statement of their own."""
    return (
        [m.event_id for m in messages],
        [m.topic for m in messages],
        [m.key for m in messages],
        [m.value for m in messages],
        [json.dumps(m.headers) for m in messages],
    )


async def add(conn: Connection, messages: Sequence[OutgoingMessage]) -> None:
    """Store `messages` inside the caller's transaction; hand them to `Outbox.publish` after it."""
    if messages:
        await conn.execute(INSERT, *columns(messages))


class Outbox:
    """Publishes what one process committed, and what any process left behind."""

    def __init__(
        self,
        database: Database,
        publisher: Publishes,
        metrics: OutboxMetrics,
        times: OutboxTimes | None = None,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._metrics = metrics
        self._times = times or OutboxTimes()
        self._fresh: list[OutgoingMessage] = []
        self._acknowledged: list[UUID] = []
        self._forget_at: float | None = None
        self._wake = asyncio.Event()
        self._wake_later: asyncio.TimerHandle | None = None
        self._publishing = asyncio.Lock()

    def publish(self, messages: Sequence[OutgoingMessage], *, has_hurry: bool = True) -> None:
        """Queue messages whose rows are committed; never waits.

        Those without hurry go out with the next that have it, or after a moment.
        """
        self._fresh.extend(messages)
        if has_hurry:
            self._wake.set()
        elif self._fresh and self._wake_later is None:
            loop = asyncio.get_running_loop()
            self._wake_later = loop.call_later(self._times.company, self._wake.set)

    async def run_publisher(self) -> None:
        """Publish fresh messages for ever: each round takes all that arrived during the last."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._forget_at):
                    await self._wake.wait()
            self._wake.clear()
            await self._publish_fresh()
            await self._forget_if_due()

    async def drain(self) -> None:
        """Publish what is queued and wait for what is on its way.

        What fails stays in the table for a sweeper. Bounded by the time limits of bus and database.
        """
        await self._publish_fresh()
        await self._forget()

    async def run_sweeper(self) -> None:
        """Publish for ever what was left behind, with backoff while bus or database are away."""
        backoff = Backoff(first=self._times.sweep_every, longest=30.0)
        failures = 0
        while True:
            await asyncio.sleep(backoff.delay(failures) if failures else self._times.sweep_every)
            try:
                while await self._sweep() == _BATCH:
                    pass
                failures = 0
            except _PASSING as error:
                failures += 1
                _log.warning("outbox sweep failed", error=type(error).__name__, failures=failures)

    async def _publish_fresh(self) -> None:
        async with self._publishing:
            messages, self._fresh = self._fresh, []
            if self._wake_later is not None:
                self._wake_later.cancel()
                self._wake_later = None
            if messages:
                await self._publish(messages)

    async def _publish(self, messages: Sequence[OutgoingMessage]) -> None:
        try:
            acknowledged = await self._publisher.publish(messages)
        except _PASSING as error:
            # Nothing is lost: the rows are in the table, and a second copy is the same event.
            _log.warning("outbox publish put off", error=type(error).__name__, count=len(messages))
            return
        self._metrics.published.inc(len(acknowledged))
        self._acknowledged += [message.event_id for message in acknowledged]
        if self._acknowledged and self._forget_at is None:
            self._forget_at = asyncio.get_running_loop().time() + self._times.forget_after

    async def _forget_if_due(self) -> None:
        is_late = self._forget_at is not None and (
            self._forget_at <= asyncio.get_running_loop().time()
        )
        if is_late or len(self._acknowledged) >= _BATCH:
            await self._forget()

    async def _forget(self) -> None:
        """Delete the rows of what was acknowledged; what fails is left to a sweeper."""
        async with self._publishing:
            acknowledged, self._acknowledged, self._forget_at = self._acknowledged, [], None
            if not acknowledged:
                return
            try:
                async with self._database.connection() as conn:
                    await conn.execute(_FORGET, acknowledged)
            except PASSING_ERRORS as error:
                _log.warning(
                    "published events not deleted yet",
                    error=type(error).__name__,
                    count=len(acknowledged),
                )

    async def _sweep(self) -> int:
        # A process that was held up may find rows left behind that it published itself.
        await self._forget()
        async with self._database.transaction() as conn:
            rows = await conn.fetch(_CLAIM_LEFT_BEHIND, self._times.left_behind_after, _BATCH)
            if not rows:
                return 0
            messages = [
                OutgoingMessage(r["topic"], r["key"], r["value"], json.loads(r["headers"]))
                for r in rows
            ]
            acknowledged = await self._publisher.publish(messages)
            ids: list[UUID] = [m.event_id for m in acknowledged]
            await conn.execute(_FORGET, ids)
        self._metrics.swept.inc(len(acknowledged))
        return len(acknowledged)
