"""Deletes jobs that have outlived their retention."""

import structlog

from shared.clock import Clock
from shared.database.pool import Database
from shared.database.purging import PurgeRules, purge_in_batches, purge_regularly
from shared.job_id import JobId, earliest
from status_projector import store
from status_projector.service.projection import Projector

_log = structlog.get_logger()


class Purger:
    """Advances the watermark, and then deletes the rows before it."""

    def __init__(
        self, database: Database, projector: Projector, rules: PurgeRules, clock: Clock
    ) -> None:
        self._database = database
        self._projector = projector
        self._rules = rules
        self._clock = clock

    async def run(self) -> None:
        """Purge for ever."""
        await purge_regularly(self.purge, self._rules)

    async def purge(self) -> int:
        """Delete all that is too old now; return how many rows it were.

        The watermark is committed first: whoever misses a row must find the reason there.
        """
        async with self._database.connection() as conn:
            cutoff = self._clock() - self._rules.retention
            first_kept = earliest(await store.advance_watermark(conn, cutoff))
        self._projector.discard_before(first_kept)
        count = await purge_in_batches(lambda: self._purge_batch(first_kept), self._rules)
        if count:
            _log.info("jobs purged", jobs=count, before=first_kept)
        return count

    async def _purge_batch(self, first_kept: JobId) -> int:
        async with self._database.connection() as conn:
            return await store.purge(conn, first_kept, self._rules.batch)
