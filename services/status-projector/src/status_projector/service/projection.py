"""Folds batches of events into the read model, each in one transaction with its positions."""

from collections.abc import Iterable

from shared.database.pool import Database
from shared.database.positions import Progress
from shared.events import ReceivedEvent
from shared.job_id import JobId, earliest
from status_projector import store
from status_projector.domain import fold
from status_projector.service.replay import logged


class Projector:
    """Keeps the read model; `requests_topic` as the broker calls it."""

    def __init__(self, database: Database, requests_topic: str) -> None:
        self._database = database
        self._requests_topic = requests_topic
        self._first_kept: JobId | None = None

    async def project(self, events: Iterable[ReceivedEvent], progress: Progress) -> int:
        """Fold `events` and store the positions after them; return how many rows changed.

        Events of purged jobs count for nothing: a row that comes too late for the watermark's
        last advance is deleted with the next.
        """
        async with self._database.connection() as conn:
            if self._first_kept is None:
                self._first_kept = earliest(await store.watermark(conn))
            first_kept = self._first_kept
            states = fold(
                logged(received, self._requests_topic)
                for received in events
                if received.event.job_id >= first_kept
            )
            return await store.fold(conn, states.values(), progress)

    def discard_before(self, first_kept: JobId) -> None:
        """Take no notice of events of jobs whose ids come before `first_kept`."""
        self._first_kept = first_kept
