"""Deletes what has outlived its retention, slowly."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg
import structlog

from shared.clock import Clock
from shared.database.pool import TRANSIENT_ERRORS, Database
from shared.job_id import JobId, earliest
from status_projector import store
from status_projector.service.projection import Projector

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
    """Advances the watermark, and then deletes the rows before it."""

    def __init__(
        self, database: Database, projector: Projector, rules: PurgeRules, clock: Clock
    ) -> None:
        self._database = database
        self._projector = projector
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
        """Delete all that is too old now; return how many rows it were.

        The watermark is committed first: whoever misses a row must find the reason there.
        """
        async with self._database.connection() as conn:
            cutoff = self._clock() - self._rules.retention
            first_kept = earliest(await store.advance_watermark(conn, cutoff))
        self._projector.discard_before(first_kept)
        count = 0
        while deleted := await self._purge_batch(first_kept):
            count += deleted
            await asyncio.sleep(self._rules.pause)
        if count:
            _log.info("jobs purged", jobs=count, before=first_kept)
        return count

    async def _purge_batch(self, first_kept: JobId) -> int:
        async with self._database.connection() as conn:
            return await store.purge(conn, first_kept, self._rules.batch)
