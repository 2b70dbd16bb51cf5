"""The notifier's Postgres schema: deliveries, their attempts and destinations.

Every time here is the database's. Whoever changes a delivery holds the row of its destination, so
that `in_flight` and `next_due_at` there are exact; destinations are always locked in the order of
their ids and in a statement of its own, whose successor then sees what the former holder did.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from notifier.domain import Attempt, Ending, JobFacts, NewDelivery, Retry
from shared.database.pool import Connection
from shared.job_id import JobId

_ADD_DESTINATIONS: Final = """
INSERT INTO destinations (tenant, origin)
SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS n(tenant, origin) ORDER BY 1, 2
ON CONFLICT (tenant, origin) DO NOTHING
"""

_LOCK_NAMED: Final = """
SELECT d.id FROM destinations d
JOIN (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS u(tenant, origin)) AS n
  ON d.tenant = n.tenant AND d.origin = n.origin
ORDER BY d.id FOR UPDATE OF d
"""

_LOCK: Final = "SELECT id FROM destinations WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE"

# Destinations with less in flight go first: a slow one doesn't take the last slots from others.
_LOCK_DUE: Final = """
SELECT id FROM destinations
WHERE next_due_at <= now() AND in_flight < $1
ORDER BY in_flight, next_due_at
LIMIT $2
FOR UPDATE SKIP LOCKED
"""

_INSERT: Final = """
INSERT INTO deliveries (event_id, destination_id, webhook_id, url, body, job_id, tenant, run,
                        job_created_at, report_type, format, traceparent)
SELECT n.event_id, d.id, n.webhook_id, n.url, n.body, n.job_id, n.tenant, n.run,
       n.job_created_at, n.report_type, n.format, n.traceparent
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[],
            $8::int[], $9::timestamptz[], $10::text[], $11::text[], $12::text[])
     AS n(event_id, webhook_id, url, origin, body, job_id, tenant, run, job_created_at,
          report_type, format, traceparent)
JOIN destinations d ON d.tenant = n.tenant AND d.origin = n.origin
ON CONFLICT (event_id, destination_id) DO NOTHING
RETURNING event_id
"""

# The first due delivery of every destination comes before the second of any.
_CLAIM: Final = """
WITH due AS (
    SELECT p.id, p.due_at, d.in_flight + p.turn AS turn
    FROM destinations d
    CROSS JOIN LATERAL (
        SELECT id, due_at, row_number() OVER (ORDER BY due_at, id) AS turn
        FROM deliveries
        WHERE destination_id = d.id AND state = 'pending' AND due_at <= now()
        ORDER BY due_at, id
        LIMIT $2 - d.in_flight
    ) AS p
    WHERE d.id = ANY($1::bigint[])
), chosen AS (
    SELECT id FROM due ORDER BY turn, due_at, id LIMIT $3
)
UPDATE deliveries
SET state = 'in_flight', attempts = attempts + 1, token = gen_random_uuid(), started_at = now(),
    lease_until = now() + make_interval(secs => $4)
FROM chosen
WHERE deliveries.id = chosen.id
RETURNING deliveries.*
"""

_END: Final = """
WITH ending AS (
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::interval[], $5::int[],
                         $6::text[], $7::int[], $8::text[])
         AS e(id, token, state, delay, latency_ms, error, status, detail)
), ended AS (
    UPDATE deliveries d
    SET state = e.state, due_at = coalesce(now() + e.delay, d.due_at), token = NULL,
        lease_until = NULL
    FROM ending e
    WHERE d.id = e.id AND d.token = e.token
    RETURNING e.token, d.id, d.attempts, d.started_at
), recorded AS (
    INSERT INTO attempts (delivery_id, number, started_at, latency_ms, error, status, detail,
                          next_due_at)
    SELECT d.id, d.attempts, d.started_at, e.latency_ms, e.error, e.status, e.detail,
           now() + e.delay
    FROM ended d JOIN ending e USING (token)
)
SELECT token FROM ended
"""

_PAUSE: Final = """
UPDATE destinations SET paused_until = greatest(paused_until, now() + p.pause)
FROM (SELECT id, max(pause) AS pause FROM unnest($1::bigint[], $2::interval[]) AS u(id, pause)
      GROUP BY id) AS p
WHERE destinations.id = p.id
"""

_REFRESH: Final = """
UPDATE destinations d
SET in_flight = d.in_flight + c.change,
    next_due_at = (SELECT greatest(p.due_at, d.paused_until) FROM deliveries p
                   WHERE p.destination_id = d.id AND p.state = 'pending'
                   ORDER BY p.due_at, p.id LIMIT 1)
FROM (SELECT id, sum(change)::int AS change FROM unnest($1::bigint[], $2::int[]) AS u(id, change)
      GROUP BY id) AS c
WHERE d.id = c.id
"""

# After a restart of the database its clients first get the chance to record what they ended.
_EXPIRED: Final = """
SELECT * FROM deliveries
WHERE state = 'in_flight' AND lease_until < now() AND token <> ALL($1::uuid[])
  AND now() > pg_postmaster_start_time() + make_interval(secs => $2)
ORDER BY lease_until
LIMIT $3
"""

_NEXT_DUE: Final = """
SELECT extract(epoch FROM next_due_at - now())::float8 FROM destinations
WHERE next_due_at IS NOT NULL AND in_flight < $1
ORDER BY next_due_at
LIMIT 1
"""

_COUNTS: Final = """
SELECT state, count(*) AS deliveries FROM deliveries
WHERE state IN ('pending', 'in_flight') GROUP BY state
"""

# Job ids begin with their time; their index holds what is done with and nothing else.
_PURGE: Final = """
DELETE FROM deliveries WHERE id IN (
    SELECT id FROM deliveries
    WHERE state IN ('delivered', 'exhausted', 'stopped') AND job_id COLLATE "C" < $1
    ORDER BY job_id COLLATE "C" LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""


async def insert(conn: Connection, deliveries: Sequence[NewDelivery]) -> int:
    """Store deliveries that aren't known yet, due at once; return how many were new."""
    tenants = [d.job.tenant for d in deliveries]
    origins = [d.origin for d in deliveries]
    await conn.execute(_ADD_DESTINATIONS, tenants, origins)
    locked = [row["id"] for row in await conn.fetch(_LOCK_NAMED, tenants, origins)]
    rows = await conn.fetch(
        _INSERT,
        [d.event_id for d in deliveries],
        [d.webhook_id for d in deliveries],
        [d.url for d in deliveries],
        origins,
        [d.body for d in deliveries],
        [d.job.job_id for d in deliveries],
        tenants,
        [d.job.run for d in deliveries],
        [d.job.created_at for d in deliveries],
        [d.job.report_type for d in deliveries],
        [d.job.format for d in deliveries],
        [d.job.traceparent for d in deliveries],
    )
    await _refresh(conn, locked, [0] * len(locked))
    return len(rows)


async def claim(
    conn: Connection, *, limit: int, per_destination: int, lease: float
) -> list[Attempt]:
    """Begin up to `limit` attempts, fairly between destinations.

    No destination has more than `per_destination` in flight, over all notifiers; `lease` is in
    seconds.
    """
    due = [row["id"] for row in await conn.fetch(_LOCK_DUE, per_destination, limit)]
    if not due:
        return []
    rows = await conn.fetch(_CLAIM, due, per_destination, limit, lease)
    claimed = [row["destination_id"] for row in rows]
    await _refresh(conn, due + claimed, [0] * len(due) + [1] * len(claimed))
    return [_attempt(row) for row in rows]


async def end(conn: Connection, endings: Sequence[Ending]) -> list[Ending]:
    """Record attempts and the next states; return those whose token still held."""
    await conn.execute(_LOCK, [e.attempt.destination_id for e in endings])
    rows = await conn.fetch(
        _END,
        [e.attempt.delivery_id for e in endings],
        [e.attempt.token for e in endings],
        [e.state for e in endings],
        [_delay(e) for e in endings],
        [int(e.result.latency / timedelta(milliseconds=1)) for e in endings],
        [e.result.error for e in endings],
        [e.result.status for e in endings],
        [e.result.detail for e in endings],
    )
    ended = {row["token"] for row in rows}
    counted = [e for e in endings if e.attempt.token in ended]
    pauses = {e.attempt.destination_id: p for e in counted if (p := _pause(e))}
    await conn.execute(_PAUSE, list(pauses), list(pauses.values()))
    await _refresh(conn, [e.attempt.destination_id for e in counted], [-1] * len(counted))
    return counted


async def expired(
    conn: Connection, *, alive: Sequence[UUID], grace: float, limit: int = 100
) -> list[Attempt]:
    """Return attempts whose lease ran out, but for those with a token in `alive`.

    They aren't locked: the token decides who ends them. None are returned in the first `grace`
    seconds after a restart of the database.
    """
    return [_attempt(row) for row in await conn.fetch(_EXPIRED, list(alive), grace, limit)]


async def seconds_until_due(conn: Connection, *, per_destination: int) -> float | None:
    """Return when the next delivery that may be claimed is due: 0 or less for one that is."""
    seconds: float | None = await conn.fetchval(_NEXT_DUE, per_destination)
    return seconds


async def counts(conn: Connection) -> dict[str, int]:
    """Return how many deliveries are pending and in flight."""
    return {row["state"]: row["deliveries"] for row in await conn.fetch(_COUNTS)}


async def purge(conn: Connection, *, before: JobId, limit: int) -> int:
    """Delete up to `limit` ended deliveries of jobs from before an id; return how many it were."""
    status = await conn.execute(_PURGE, before, limit)
    return int(status.rpartition(" ")[2])


async def _refresh(conn: Connection, destinations: list[int], changes: list[int]) -> None:
    """Bring locked destinations up to date: `changes` is added to what is in flight."""
    await conn.execute(_REFRESH, destinations, changes)


def _delay(ending: Ending) -> timedelta | None:
    return ending.verdict.delay if isinstance(ending.verdict, Retry) else None


def _pause(ending: Ending) -> timedelta:
    return ending.verdict.pause if isinstance(ending.verdict, Retry) else timedelta(0)


def _attempt(row: Record) -> Attempt:
    return Attempt(
        delivery_id=row["id"],
        destination_id=row["destination_id"],
        token=row["token"],
        number=row["attempts"],
        webhook_id=row["webhook_id"],
        url=row["url"],
        body=row["body"],
        job=JobFacts(
            job_id=row["job_id"],
            tenant=row["tenant"],
            run=row["run"],
            created_at=row["job_created_at"],
            report_type=row["report_type"],
            format=row["format"],
            traceparent=row["traceparent"],
        ),
    )
