"""What the sweeper needs of the database: whose turn it is, and what is known of jobs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from report_worker.domain.sweeping import KnownRun
from shared.database.pool import Connection
from shared.job_id import JobId

# Whoever comes first has the turn; if it dies, the next one has it when that time is over.
_TAKE_TURN: Final = """
UPDATE sweeping SET next_at = now() + make_interval(secs => $1)
WHERE next_at <= now()
RETURNING position, remembers_from
"""

_END_TURN: Final = """
UPDATE sweeping SET position = $1, next_at = now() + make_interval(secs => $2)
"""

_KNOWN: Final = """
SELECT job_id, run, attempt, token, state = 'ended' AS is_ended,
       deleted_at IS NOT NULL AS is_deleted, artifact_path IS NOT NULL AS has_artifact
FROM runs WHERE job_id = ANY($1::text[])
"""

_DELETED: Final = """
SELECT DISTINCT job_id FROM runs
WHERE deleted_at IS NOT NULL AND NOT is_swept AND state = 'ended' AND job_id <> ALL($2::text[])
ORDER BY job_id LIMIT $1
"""

_SWEPT: Final = """
UPDATE runs SET is_swept = true
WHERE job_id = ANY($1::text[]) AND deleted_at IS NOT NULL AND state = 'ended'
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """A page of the store to look through, from behind `position` on."""

    position: str
    remembers_from: datetime


async def take_turn(conn: Connection, *, limit: float) -> Turn | None:
    """Take the next page, for at most so many seconds; None where it isn't time, or another's."""
    row = await conn.fetchrow(_TAKE_TURN, limit)
    return Turn(row["position"], row["remembers_from"]) if row else None


async def end_turn(conn: Connection, position: str, *, pause: float) -> None:
    """Note how far the store was looked through, and wait so many seconds before the next page."""
    await conn.execute(_END_TURN, position, pause)


async def known_runs(conn: Connection, jobs: Collection[JobId]) -> dict[JobId, list[KnownRun]]:
    """Return all runs of these jobs, as far as there are any."""
    known: dict[JobId, list[KnownRun]] = {}
    for row in await conn.fetch(_KNOWN, list(jobs)):
        run = KnownRun(**row)
        known.setdefault(run.job_id, []).append(run)
    return known


async def now(conn: Connection) -> datetime:
    """Return the present time."""
    moment: datetime = await conn.fetchval("SELECT now()")
    return moment


async def deleted_jobs(
    conn: Connection, *, limit: int, without: Sequence[JobId] = ()
) -> list[JobId]:
    """Return deleted jobs whose runs have ended and whose files haven't been looked for yet."""
    return [JobId(row["job_id"]) for row in await conn.fetch(_DELETED, limit, list(without))]


async def mark_swept(conn: Connection, jobs: Sequence[JobId]) -> None:
    """Note that the files of deleted jobs are gone, as far as their runs had ended."""
    await conn.execute(_SWEPT, jobs)
