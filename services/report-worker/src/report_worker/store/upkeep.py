"""What keeps the queue in order: waits that took too long, old runs, counts and wake-up calls."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from report_worker.domain import WaitingRun
from report_worker.store.rows import waiting_run_of
from shared.database.pool import Connection
from shared.job_id import JobId

CHANNEL: Final = "report_worker"
"""Where workers hear that there is something to do: one of the two words that follow."""
QUEUED: Final = "queued"
CANCELLED: Final = "cancelled"

_OVERDUE: Final = """
SELECT *, now() AS seen_at FROM runs
WHERE state = 'queued' AND started_at IS NULL AND start_by <= now()
ORDER BY start_by
LIMIT $1
FOR UPDATE SKIP LOCKED
"""

# Job ids begin with their time. A running attempt of a job that old is stopped by the next beat.
_PURGE: Final = """
DELETE FROM runs WHERE (job_id, run) IN (
    SELECT job_id, run FROM runs WHERE job_id < $1
    ORDER BY job_id, run LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""

# Two counts, because each can use its own partial index however many runs have ended.
_COUNTS: Final = """
SELECT (SELECT count(*) FROM runs WHERE state = 'queued') AS queued,
       (SELECT count(*) FROM runs WHERE state = 'running') AS running,
       clock_timestamp() AS counted_at
"""


@dataclass(frozen=True, slots=True)
class Overdue:
    """Locked runs that were to begin before `seen_at`."""

    runs: list[WaitingRun]
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """How many runs wait and execute, over all workers."""

    queued: int
    running: int
    counted_at: datetime


async def overdue(conn: Connection, *, limit: int) -> Overdue | None:
    """Lock up to `limit` runs whose first attempt hasn't begun in time; None if there is none."""
    rows = await conn.fetch(_OVERDUE, limit)
    return Overdue([waiting_run_of(row) for row in rows], rows[0]["seen_at"]) if rows else None


async def purge(conn: Connection, *, before: JobId, limit: int) -> int:
    """Delete up to `limit` runs of jobs from before an id; return how many they were."""
    status = await conn.execute(_PURGE, before, limit)
    return int(status.rpartition(" ")[2])


async def notify(conn: Connection, word: str) -> None:
    """Wake workers when the transaction commits."""
    await conn.execute("SELECT pg_notify($1, $2)", CHANNEL, word)


async def counts(conn: Connection) -> Counts:
    """Return how many runs are queued and running."""
    row = await conn.fetchrow(_COUNTS)
    if row is None:
        raise LookupError("a statement without a FROM has one row")
    return Counts(**row)
