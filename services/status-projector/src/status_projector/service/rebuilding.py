"""Makes the read model anew from the log while the projector and its readers go on.

The log is folded into a table beside the read model. When that has caught up, the projector is
held for a moment, and what differs is exchanged in one transaction: readers see the rows of
before or those of after, and nobody sees a row missing.
"""

from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from shared.bus.stored_log import StoredLog
from shared.database.pool import Connection, Database
from shared.job_id import earliest
from status_projector import store
from status_projector.domain import fold
from status_projector.service.replay import replay

_PATIENCE: Final = 600
"""Seconds for the exchange, and for the wait until it may begin."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to."""

    events: int
    """Events that were folded."""
    jobs: int
    """Jobs that the log tells of."""
    removed: int
    """Rows that weren't what the log says, or that it knows nothing of."""
    inserted: int
    """Rows that took their place, or that had been missing."""


async def rebuild(database: Database, log: StoredLog, *, requests_topic: str) -> Rebuilt:
    """Replace all rows that aren't the fold of the log.

    Raises:
        BusUnavailableError: where the broker doesn't answer in time; then nothing has changed.

    """
    async with database.connection() as conn:
        await store.begin_rebuild(conn)
        catch_up = _CatchUp(conn, log, requests_topic)
        await catch_up.run()
        await catch_up.run()  # with what came during the first, long one
        async with conn.transaction():
            await store.hold_writers(conn, seconds=_PATIENCE)
            await catch_up.run()
            removed, inserted = await store.exchange(conn, seconds=_PATIENCE)
        jobs = await store.rebuilt_jobs(conn)
    return Rebuilt(catch_up.events, jobs, removed, inserted)


class _CatchUp:
    """Folds the log into the second read model, up to its end.

    The projector may not have come that far: it then folds again what is folded already.
    """

    def __init__(self, conn: Connection, log: StoredLog, requests_topic: str) -> None:
        self._conn = conn
        self._log = log
        self._requests_topic = requests_topic
        self._reached: dict[TopicPartition, int] = {}
        self.events = 0

    async def run(self) -> None:
        first_kept = earliest(await store.watermark(self._conn))
        spans = {
            partition: range(max(span.start, self._reached.get(partition, 0)), span.stop)
            for partition, span in (await self._log.bounds()).items()
        }
        async for chunk in replay(self._log, spans, self._requests_topic):
            kept = [logged for logged in chunk if logged[0].job_id >= first_kept]
            await store.join_rebuilt(self._conn, fold(kept).values())
            self.events += len(kept)
        self._reached = {partition: span.stop for partition, span in spans.items()}
