"""Deletes deliveries of jobs that have outlived their retention, slowly."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg
import structlog

from notifier import store
from shared.clock import Clock
from shared.database.pool import TRANSIENT_ERRORS, Database
from shared.job_id import earliest

_PASSING: Final = (*TRANSIENT_ERRORS, asyncpg.PostgresError)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PurgeRules:
    """What is purged, and how fast; `every` and `pause` in seconds."""

    retention: timedelta
    every: float = 60.0
    batch: int = 500
    pause: float = 0.1
    """Between two batches, for the other users of the database."""


class Purger:
    """Deletes deliveries that are done with, whose jobs are too old."""

    def __init__(self, database: Database, rules: PurgeRules, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock

    async def run(self) -> None:
        """Purge for ever; what fails is tried again in the next round."""
        while True:
            try:
                await self.purge()
            except _PASSING as error:
                _log.warning("purge put off", error=type(error).__name__)
            await asyncio.sleep(self._rules.every)

    async def purge(self) -> int:
        """Delete all that is too old now, with its attempts; return how many deliveries it were.

        A delivery that isn't done with stays until it is, so that its end becomes known.
        """
        first_kept = earliest(self._clock() - self._rules.retention)
        count = 0
        while True:
            async with self._database.connection() as conn:
                deleted = await store.purge(conn, before=first_kept, limit=self._rules.batch)
            if not deleted:
                return count
            count += deleted
            await asyncio.sleep(self._rules.pause)
