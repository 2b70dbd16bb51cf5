"""What requests do to the runs: new ones, and those that are to be stopped or forgotten."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from report_worker.domain import NewRun, Run, WaitingRun
from report_worker.store import rows
from shared.database.pool import Connection

RunKey = tuple[str, int]
"""Job id and run."""

# The runs of a job come in rising order, so one that isn't above all known ones has been here.
# Attempts are counted over the job's life: a later run goes on where the earlier one ended.
_INSERT: Final = f"""
INSERT INTO runs ({rows.COLUMNS}, state, attempt)
SELECT n.*, coalesce(known.attempt, 0)
FROM unnest({rows.parameters(first=1)}, $10::text[]) AS n({rows.COLUMNS}, state)
CROSS JOIN LATERAL (
    SELECT max(r.run) AS run, max(r.attempt) AS attempt, count(r.deleted_at) AS deleted
    FROM runs r WHERE r.job_id = n.job_id
) AS known
WHERE known.run IS NULL OR (known.run < n.run AND known.deleted = 0)
ON CONFLICT (job_id, run) DO NOTHING
RETURNING job_id, run
"""  # noqa: S608 - built from constants

# A client can only retry what it saw FAILED. So the end of the earlier run is in the log, and
# where this database doesn't know it, it has lost it (docs/adr/0007-requests-meet-the-queue.md).
_SUPERSEDE: Final = """
UPDATE runs r SET state = 'ended', request = NULL, token = NULL, lease_until = NULL
FROM unnest($1::text[], $2::int[]) AS later(job_id, run)
WHERE r.job_id = later.job_id AND r.run < later.run AND r.state <> 'ended'
"""

# In one order everywhere, so that two workers that want the same rows don't deadlock.
_LOCK: Final = """
SELECT r.*, now() AS seen_at FROM runs r
JOIN unnest($1::text[], $2::int[]) AS s(job_id, run)
  ON r.job_id = s.job_id AND (s.run IS NULL OR r.run = s.run)
WHERE r.state <> 'ended'
ORDER BY r.job_id, r.run
FOR UPDATE OF r
"""

# Of rows that are locked and were found queued: asking for that again would have the planner read
# the index of all that is queued.
_END_WAITING: Final = """
UPDATE runs r SET state = 'ended', request = NULL
FROM unnest($1::text[], $2::int[]) AS e(job_id, run)
WHERE r.job_id = e.job_id AND r.run = e.run
"""

_MARK_CANCELLED: Final = """
UPDATE runs SET cancel_requested_at = now()
WHERE token = ANY($1::uuid[]) AND job_id = ANY($2::text[]) AND state = 'running'
"""

# A job that was never heard of gets a tombstone too: a retry of it may still be on its way.
_BURY: Final = """
WITH gone AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::timestamptz[], $5::text[],
                         $6::text[]) AS g(job_id, run, tenant, created_at, report_type, format)
), buried AS (
    UPDATE runs r SET deleted_at = now(),
                      request = CASE WHEN r.state = 'ended' THEN NULL ELSE r.request END
    FROM gone g WHERE r.job_id = g.job_id AND r.deleted_at IS NULL
)
INSERT INTO runs (job_id, run, tenant, created_at, report_type, format, state, start_by, deleted_at)
SELECT g.*, 'ended', g.created_at, now() FROM gone g
WHERE NOT EXISTS (SELECT FROM runs r WHERE r.job_id = g.job_id)
ON CONFLICT (job_id, run) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Stoppable:
    """Locked runs that go on, at `seen_at`: those that wait, and the tokens of the others.

    Tokens of attempts that were told to stop before aren't among them.
    """

    waiting: list[WaitingRun]
    running: dict[UUID, str]
    """Token and job id."""
    seen_at: datetime | None


async def insert(
    conn: Connection, runs: Sequence[NewRun], *, ended: Collection[RunKey] = ()
) -> set[RunKey]:
    """Store runs that aren't known yet, those in `ended` as such; return which were new."""
    if not runs:
        return set()
    # In one order everywhere, so that two workers that store the same runs don't deadlock.
    runs = sorted(runs, key=lambda run: (run.job_id, run.run))
    states = ["ended" if (r.job_id, r.run) in ended else "queued" for r in runs]
    stored = [
        replace(run, request=None) if state == "ended" else run
        for run, state in zip(runs, states, strict=True)
    ]
    added = await conn.fetch(_INSERT, *rows.columns(stored), states)
    return {(row["job_id"], row["run"]) for row in added}


async def supersede(conn: Connection, added: Collection[RunKey]) -> None:
    """End, without an event, the runs that precede those that were just added."""
    later = sorted(key for key in added if key[1] > 1)
    if later:
        await conn.execute(_SUPERSEDE, [job_id for job_id, _ in later], [run for _, run in later])


async def lock(conn: Connection, runs: Sequence[tuple[str, int | None]]) -> Stoppable:
    """Lock the given runs as far as they go on; None for all runs of a job."""
    found = await conn.fetch(_LOCK, [job_id for job_id, _ in runs], [run for _, run in runs])
    running = {
        row["token"]: row["job_id"]
        for row in found
        if row["state"] == "running" and row["cancel_requested_at"] is None
    }
    waiting = [rows.waiting_run_of(row) for row in found if row["state"] == "queued"]
    return Stoppable(waiting, running, found[0]["seen_at"] if found else None)


async def end_waiting(conn: Connection, runs: Sequence[Run]) -> None:
    """End runs that wait and are locked."""
    if runs:
        await conn.execute(_END_WAITING, [r.job_id for r in runs], [r.run for r in runs])


async def mark_cancelled(conn: Connection, running: dict[UUID, str]) -> None:
    """Note that attempts are to be stopped: whatever they come to, they aren't followed by more."""
    if running:
        await conn.execute(_MARK_CANCELLED, list(running), list(running.values()))


async def bury(conn: Connection, last_runs: Sequence[Run]) -> None:
    """Turn all runs of these jobs into tombstones; no later one is ever stored."""
    await conn.execute(
        _BURY,
        [r.job_id for r in last_runs],
        [r.run for r in last_runs],
        [r.tenant for r in last_runs],
        [r.created_at for r in last_runs],
        [r.report_type for r in last_runs],
        [r.format for r in last_runs],
    )
