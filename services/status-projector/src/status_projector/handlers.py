"""Batches from the log: fold each, and say how it went in one line and a few metrics."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from shared.bus import Batch
from shared.clock import Clock
from shared.events import JobProgressed, JobStarted, ReceivedEvent, ReportRequested
from status_projector.metrics import ProjectorMetrics
from status_projector.service import Projector

UNHURRIED: Final = (ReportRequested, JobStarted, JobProgressed)
"""What nobody waits for by the millisecond: until a job's row is there, its id says PENDING."""

_log = structlog.get_logger()


class EventsHandler:
    """Takes batches of both topics."""

    def __init__(self, projector: Projector, metrics: ProjectorMetrics, clock: Clock) -> None:
        self._projector = projector
        self._metrics = metrics
        self._clock = clock

    async def handle(self, batch: Batch) -> None:
        """Fold the batch; raises where the database is away."""
        began = time.monotonic()
        changed = await self._projector.project(batch.events, batch.progress)
        seconds = time.monotonic() - began
        lag = lag_seconds(batch.events, self._clock())
        self._metrics.batch_events.observe(len(batch.events))
        self._metrics.fold.observe(seconds)
        self._metrics.changed.inc(changed)
        if lag is not None:
            self._metrics.lag.observe(lag)
        _log.debug(
            "batch folded",
            events=len(batch.events),
            invalid=len(batch.invalid),
            changed=changed,
            seconds=round(seconds, 4),
            lag_seconds=lag and round(lag, 3),
        )


def lag_seconds(events: Sequence[ReceivedEvent], now: datetime) -> float | None:
    """Return the age of the oldest event whose time can be read; None where there is none."""
    ages = [age for event in events if (age := _age(event.time, now)) is not None]
    return max(0.0, *ages) if ages else None


def _age(time_text: str, now: datetime) -> float | None:
    """Return the seconds since an event's `ce_time`, which every producer spells itself."""
    try:
        moment = datetime.fromisoformat(time_text)
        return (now - moment).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
