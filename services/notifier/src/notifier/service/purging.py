"""Deletes deliveries of jobs that have outlived their retention."""

from notifier import store
from shared.clock import Clock
from shared.database.pool import Database
from shared.database.purging import PurgeRules, purge_in_batches, purge_regularly
from shared.job_id import JobId, earliest


class Purger:
    """Deletes deliveries that are done with, whose jobs are too old."""

    def __init__(self, database: Database, rules: PurgeRules, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock

    async def run(self) -> None:
        """Purge for ever."""
        await purge_regularly(self.purge, self._rules)

    async def purge(self) -> int:
        """Delete all that is too old now, with its attempts; return how many deliveries it were.

        A delivery that isn't done with stays until it is, so that its end becomes known.
        """
        first_kept = earliest(self._clock() - self._rules.retention)
        return await purge_in_batches(lambda: self._purge_batch(first_kept), self._rules)

    async def _purge_batch(self, first_kept: JobId) -> int:
        async with self._database.connection() as conn:
            return await store.purge(conn, before=first_kept, limit=self._rules.batch)
