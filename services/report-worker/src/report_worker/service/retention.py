"""Forgets runs some time after their reports have expired."""

from datetime import timedelta
from typing import Final

import structlog

from report_worker import store
from shared.clock import Clock
from shared.database.pool import Database
from shared.database.purging import PurgeRules, purge_in_batches, purge_regularly
from shared.job_id import JobId, earliest

_MARGIN: Final = timedelta(days=1)
"""How much longer a run is remembered than its report is kept: whoever asks after it by then gets
410, and requests that concern it are left alone, so nothing brings it back."""

_log = structlog.get_logger()


class Retention:
    """Deletes the runs of jobs older than `report_retention` and a margin."""

    def __init__(self, database: Database, report_retention: timedelta, clock: Clock) -> None:
        self._database = database
        self._rules = PurgeRules(report_retention + _MARGIN, every=600.0, batch=1000)
        self._clock = clock

    async def run(self) -> None:
        """Look for old runs every ten minutes, for ever."""
        await purge_regularly(self.purge, self._rules)

    async def purge(self) -> int:
        """Delete all runs that are old enough; return how many they were."""
        before = earliest(self._clock() - self._rules.retention)
        purged = await purge_in_batches(lambda: self._purge_batch(before), self._rules)
        if purged:
            _log.info("old runs purged", runs=purged)
        return purged

    async def _purge_batch(self, before: JobId) -> int:
        async with self._database.connection() as conn:
            return await store.purge(conn, before=before, limit=self._rules.batch)
