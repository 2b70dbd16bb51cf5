"""Forgets runs some time after their reports have expired."""

import asyncio
from datetime import timedelta
from typing import Final

import asyncpg
import structlog

from report_worker import store
from shared import job_id
from shared.clock import Clock
from shared.database.pool import TRANSIENT_ERRORS, Database

_MARGIN: Final = timedelta(days=1)
"""How much longer a run is remembered than its report is kept: whoever asks after it by then gets
410, and requests that concern it are left alone, so nothing brings it back."""

_BATCH: Final = 1000
_EVERY: Final = 600.0
_PASSING: Final = (*TRANSIENT_ERRORS, asyncpg.PostgresError)
_log = structlog.get_logger()


class Retention:
    """Deletes the runs of jobs older than `report_retention` and a margin."""

    def __init__(self, database: Database, report_retention: timedelta, clock: Clock) -> None:
        self._database = database
        self._keep = report_retention + _MARGIN
        self._clock = clock

    async def run(self) -> None:
        """Look for old runs every ten minutes, for ever."""
        while True:
            try:
                await self.purge()
            except _PASSING as error:
                _log.warning("old runs not purged yet", error=type(error).__name__)
            await asyncio.sleep(_EVERY)

    async def purge(self) -> int:
        """Delete all runs that are old enough, in small batches; return how many they were."""
        before = job_id.earliest(self._clock() - self._keep)
        purged = 0
        while True:
            async with self._database.connection() as conn:
                count = await store.purge(conn, before=before, limit=_BATCH)
            purged += count
            if count < _BATCH:
                break
        if purged:
            _log.info("old runs purged", runs=purged)
        return purged
