"""The watermark, and the deletion of rows before it."""

from datetime import datetime
from typing import Final

from shared.database.pool import Connection

_WATERMARK: Final = "SELECT purged_before FROM watermark"

_ADVANCE: Final = """
UPDATE watermark SET purged_before = greatest(purged_before, $1) RETURNING purged_before
"""

# Two projectors that purge at once take different rows.
_PURGE: Final = """
DELETE FROM jobs WHERE job_id IN (
    SELECT job_id FROM jobs WHERE job_id < $1 ORDER BY job_id LIMIT $2 FOR UPDATE SKIP LOCKED
)
RETURNING 1
"""


async def watermark(conn: Connection) -> datetime:
    """Return the moment before which jobs are purged, by the time in their ids."""
    moment: datetime = await conn.fetchval(_WATERMARK)
    return moment


async def advance_watermark(conn: Connection, to: datetime) -> datetime:
    """Move the watermark on to `to`, never back; return where it stands."""
    moment: datetime = await conn.fetchval(_ADVANCE, to)
    return moment


async def purge(conn: Connection, first_kept: str, limit: int) -> int:
    """Delete up to `limit` rows with ids before `first_kept`; return how many it were."""
    return len(await conn.fetch(_PURGE, first_kept, limit))
