"""Runs that begin in the moment of their arrival: intake, claim and positions in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from report_worker.domain import Attempt, NewRun
from report_worker.store import rows
from shared import outbox
from shared.database import positions
from shared.database.pool import Connection
from shared.database.positions import Progress
from shared.events import OutgoingMessage

# A transaction of its own in one round trip, where the general way takes six. A job that is known
# already was taken in before, and is left alone.
_BEGIN: Final = f"""
WITH {positions.SAVING}, begun AS (
    INSERT INTO runs ({rows.COLUMNS}, attempt, token, started_at, state, lease_until)
    SELECT n.*, 'running', now() + make_interval(secs => $17)
    FROM unnest({rows.parameters(first=5)}, $14::int[], $15::uuid[], $16::timestamptz[])
         AS n({rows.COLUMNS}, attempt, token, started_at)
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
    attempts = [arrival.attempt for arrival in arrivals]
    begun = await conn.fetch(
        _BEGIN,
        *positions.arguments(progress),
        *rows.columns([arrival.run for arrival in arrivals]),
        [a.attempt for a in attempts],
        [a.token for a in attempts],
        [a.started_at for a in attempts],
        lease,
        *outbox.columns([arrival.message for arrival in arrivals]),
    )
    positions.require_none_lost(begun[0]["lost"])
    tokens = {row["token"] for row in begun}
    return [arrival for arrival in arrivals if arrival.attempt.token in tokens]
