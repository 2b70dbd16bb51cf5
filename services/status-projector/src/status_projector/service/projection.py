"""Folds batches of events into the read model, each in one transaction with its positions."""

from collections.abc import Iterable

from shared.database import positions
from shared.database.pool import Database
from shared.database.positions import Progress
from shared.events import AnyJobEvent
from status_projector import store
from status_projector.domain import fold


class Projector:
    """Keeps the read model."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def project(self, events: Iterable[AnyJobEvent], progress: Progress) -> int:
        """Fold `events` and store the positions after them; return how many rows changed.

        The commit doesn't wait for the disk. What a crash of the database takes back it takes
        back together with the positions, so it is folded again.
        """
        states = fold(events)
        async with self._database.transaction(synchronous=False) as conn:
            changed = await store.upsert(conn, states.values())
            await positions.save(conn, progress)
            await store.notify_changed(conn, changed)
        return len(changed)
