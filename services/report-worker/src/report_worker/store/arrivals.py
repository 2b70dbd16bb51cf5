"""Runs that begin in the moment of their arrival: intake, claim and positions in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from report_worker.domain import Attempt, NewRun
from report_worker.store.rows import stored_request
from shared import outbox
from shared.database import positions
from shared.database.pool import Connection
from shared.database.positions import Progress
from shared.events import OutgoingMessage

# A transaction of its own in one round trip, where the general way takes six. A job that is known
# already was taken in before, and is left alone.
_BEGIN: Final = f"""
WITH {positions.SAVING}, begun AS (
    INSERT INTO runs (job_id, run, tenant, created_at, report_type, format, request, traceparent,
                      start_by, attempt, token, started_at, state, lease_until)
    SELECT n.*, 'running', now() + make_interval(secs => $16)
    FROM unnest($5::text[], $6::int[], $7::text[], $8::timestamptz[], $9::text[], $10::text[],
                $11::text[], $12::text[], $13::timestamptz[], $14::int[], $15::uuid[],
                $17::timestamptz[])
         AS n(job_id, run, tenant, created_at, report_type, format, request, traceparent,
              start_by, attempt, token, started_at)
    WHERE NOT EXISTS (SELECT FROM lost)
      AND NOT EXISTS (SELECT FROM runs r WHERE r.job_id = n.job_id)
    ON CONFLICT (job_id, run) DO NOTHING
    RETURNING token
), stored AS (
    INSERT INTO outbox (event_id, topic, key, value, headers)
    SELECT m.event_id, m.topic, m.key, m.value, m.headers
    FROM unnest($18::uuid[], $19::text[], $20::bytea[], $21::bytea[], $22::text[], $15::uuid[])
         AS m(event_id, topic, key, value, headers, token)
    JOIN begun USING (token)
    ON CONFLICT (event_id) DO NOTHING
)
SELECT token, gone.names AS lost
FROM (SELECT ARRAY(SELECT topic || '/' || partition FROM lost) AS names) AS gone
LEFT JOIN begun ON true
"""  # noqa: S608 - built from constants


@dataclass(frozen=True, slots=True)
class Arrival:
    """A first run with its first attempt, and the event that tells of its beginning."""

    run: NewRun
    attempt: Attempt
    message: OutgoingMessage


async def begin(
    conn: Connection,
    arrivals: Sequence[Arrival],
    progress: Progress,
    *,
    lease: float,
) -> list[Arrival]:
    """Store first runs as running; return those that weren't known yet.

    Raises:
        PositionsLostError: where the database went back; then nothing is stored.

    """
    # In one order everywhere, so that two workers that store the same runs don't deadlock.
    arrivals = sorted(arrivals, key=lambda arrival: arrival.run.job_id)
    runs = [arrival.run for arrival in arrivals]
    attempts = [arrival.attempt for arrival in arrivals]
    rows = await conn.fetch(
        _BEGIN,
        *positions.arguments(progress),
        [r.job_id for r in runs],
        [r.run for r in runs],
        [r.tenant for r in runs],
        [r.created_at for r in runs],
        [r.report_type for r in runs],
        [r.format for r in runs],
        [stored_request(r) for r in runs],
        [r.traceparent for r in runs],
        [r.start_by for r in runs],
        [a.attempt for a in attempts],
        [a.token for a in attempts],
        lease,
        [a.started_at for a in attempts],
        *outbox.columns([arrival.message for arrival in arrivals]),
    )
    positions.require_none_lost(rows[0]["lost"])
    begun = {row["token"] for row in rows}
    return [arrival for arrival in arrivals if arrival.attempt.token in begun]
