"""Deletes what has outlived its retention: for ever, slowly, a batch at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from shared.database.pool import PASSING_ERRORS

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PurgeRules:
    """What is purged, and how fast; `every` and `pause` in seconds."""

    retention: timedelta
    every: float = 60.0
    batch: int = 500
    pause: float = 0.1
    """Between two batches, for the other users of the database."""


async def purge_regularly(purge: Callable[[], Awaitable[object]], rules: PurgeRules) -> None:
    """Purge for ever; what fails is tried again in the next round."""
    while True:
        try:
            await purge()
        except PASSING_ERRORS as error:
            _log.warning("purge put off", error=type(error).__name__)
        await asyncio.sleep(rules.every)


async def purge_in_batches(purge_batch: Callable[[], Awaitable[int]], rules: PurgeRules) -> int:
    """Delete until nothing is left to delete; return how many `purge_batch` says it were."""
    count = 0
    while deleted := await purge_batch():
        count += deleted
        await asyncio.sleep(rules.pause)
    return count
