"""A second read model beside the first, and the exchange of what differs between the two."""

from collections.abc import Collection
from typing import Final

from shared.database.pool import Connection
from status_projector.domain import AnyState
from status_projector.store.jobs import columns
from status_projector.store.sql import CHANGED_CHANNEL, NAMES, join_into

# Of this session alone: whatever ends the rebuild takes it away.
_CREATE: Final = """
CREATE TEMP TABLE rebuilt (LIKE jobs INCLUDING DEFAULTS INCLUDING GENERATED, PRIMARY KEY (job_id))
"""
_JOIN: Final = join_into("rebuilt")
# Bounds the wait for the exchange and the exchange itself. Who only reads never waits.
_BE_PATIENT: Final = "SET LOCAL statement_timeout = '{seconds}s'"
_LOCK: Final = "LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE"
# As records, NULLs are equal.
_DELETE: Final = """
DELETE FROM jobs j WHERE NOT EXISTS (
    SELECT FROM rebuilt r WHERE r.job_id = j.job_id AND r::record = j::record
)
"""
_INSERT: Final = f"""
INSERT INTO jobs ({NAMES}) SELECT {NAMES} FROM rebuilt r
WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.job_id = r.job_id)
"""  # noqa: S608 - built from constants
_TELL: Final = f"SELECT pg_notify('{CHANGED_CHANNEL}', '')"
_COUNT: Final = "SELECT count(*) FROM rebuilt"


async def begin_rebuild(conn: Connection) -> None:
    """Create an empty read model that only this connection sees."""
    await conn.execute(_CREATE)


async def join_rebuilt(conn: Connection, states: Collection[AnyState]) -> None:
    """Join `states`, at most one per job, into the second read model."""
    await conn.execute(_JOIN, *columns(states))


async def hold_writers(conn: Connection, *, seconds: int) -> None:
    """Let nobody else write rows until the caller's transaction ends.

    `seconds` bounds each statement from here on, this one's wait included.
    """
    await conn.execute(_BE_PATIENT.format(seconds=seconds))
    await conn.execute(_LOCK, timeout=seconds)


async def exchange(conn: Connection, *, seconds: int) -> tuple[int, int]:
    """Make the read model what the second one is, within the caller's transaction.

    Returns how many rows were wrong or too many, and how many were put in. Rows that are right
    aren't written.
    """
    deleted = _rows(await conn.execute(_DELETE, timeout=seconds))
    inserted = _rows(await conn.execute(_INSERT, timeout=seconds))
    if deleted or inserted:
        await conn.execute(_TELL)
    return deleted, inserted


async def rebuilt_jobs(conn: Connection) -> int:
    """Return how many jobs the second read model holds."""
    jobs: int = await conn.fetchval(_COUNT)
    return jobs


def _rows(status: str) -> int:
    return int(status.rpartition(" ")[2])
