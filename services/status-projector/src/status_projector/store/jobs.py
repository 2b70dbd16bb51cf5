"""Folds states into the table, and reads them back."""

from collections.abc import AsyncIterator, Collection, Iterable
from typing import Final

from shared.database import positions
from shared.database.pool import Connection
from shared.database.positions import Progress
from status_projector.domain import AnyState
from status_projector.store import rows, sql

_PREFETCH: Final = 1000


async def fold(conn: Connection, states: Collection[AnyState], progress: Progress) -> int:
    """Join `states`, at most one per job, into the table, and store the positions after them.

    Listeners are told which jobs changed; returns how many. One statement, which needs no
    transaction around it. Rows are locked in the order of their ids, so that two projectors
    can't deadlock.

    Raises:
        PositionsLostError: where the database went back; then nothing is stored.

    """
    row = await conn.fetchrow(sql.FOLD, *positions.arguments(progress), *columns(states))
    if row is None:
        raise LookupError("a statement without a FROM has one row")
    positions.require_none_lost(row["lost"])
    changed: int = row["changed"]
    return changed


async def read_all(conn: Connection) -> AsyncIterator[AnyState]:
    """Yield every row as the state that it holds; needs a transaction, whose snapshot it reads."""
    async for row in conn.cursor(sql.SELECT_ALL, prefetch=_PREFETCH):
        yield rows.state(row)


def columns(states: Collection[AnyState]) -> Iterable[tuple[object, ...]]:
    """Return the values of all states in the order of their ids, column by column."""
    if not states:
        return ((),) * len(sql.COLUMNS)
    ordered = sorted(states, key=lambda state: state.job_id)
    return zip(*map(rows.values, ordered), strict=True)
