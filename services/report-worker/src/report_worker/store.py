"""The worker's Postgres schema: queue and leases. Every time here is the database's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import Record
from pydantic import ValidationError

from report_worker.domain import Attempt, Ending, NewRun
from shared import outbox
from shared.database.pool import Connection
from shared.events import OutgoingMessage, RequestedReport
from shared.job_id import JobId

QUEUED_CHANNEL: Final = "report_worker_queued"

# Attempts are counted over the job's life, so a later run goes on where the earlier one ended.
_INSERT: Final = """
INSERT INTO runs (job_id, run, tenant, created_at, report_type, format, request, traceparent,
                  state, attempt)
SELECT n.*, $9, coalesce((SELECT max(earlier.attempt) FROM runs earlier
                          WHERE earlier.job_id = n.job_id), 0)
FROM unnest($1::text[], $2::int[], $3::text[], $4::timestamptz[], $5::text[],
            $6::text[], $7::text[], $8::text[])
     AS n(job_id, run, tenant, created_at, report_type, format, request, traceparent)
ON CONFLICT (job_id, run) DO NOTHING
RETURNING job_id, run
"""

# Tenants take turns: a tenant's next job queues behind as many turns as the tenant already has
# jobs running. The recursion finds the distinct tenants by index, however long the queue is. Only
# what is chosen is locked, row by row in the order of the turns, so that workers that claim at the
# same moment get different jobs; the list is longer than the choice because of what they hold.
_CLAIM: Final = """
WITH RECURSIVE waiting(tenant) AS (
    (SELECT tenant FROM runs WHERE state = 'queued' ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT r.tenant FROM runs r
            WHERE r.state = 'queued' AND r.tenant > w.tenant ORDER BY r.tenant LIMIT 1)
    FROM waiting w WHERE w.tenant IS NOT NULL
), busy AS (
    SELECT tenant, count(*) AS running FROM runs WHERE state = 'running' GROUP BY tenant
), shortlist AS (
    SELECT due.job_id, due.run, due.run_at,
           coalesce(b.running, 0) + row_number() OVER (PARTITION BY w.tenant
                                                       ORDER BY due.run_at, due.job_id) AS turn
    FROM waiting w
    LEFT JOIN busy b USING (tenant)
    CROSS JOIN LATERAL (
        SELECT r.job_id, r.run, r.run_at FROM runs r
        WHERE r.state = 'queued' AND r.tenant = w.tenant AND r.run_at <= now()
        ORDER BY r.run_at, r.job_id
        LIMIT 8 * $1
    ) AS due
    WHERE w.tenant IS NOT NULL
    ORDER BY turn, due.run_at, due.job_id
    LIMIT 8 * $1
), chosen AS (
    SELECT locked.job_id, locked.run
    FROM (SELECT * FROM shortlist ORDER BY turn, run_at, job_id) AS s
    CROSS JOIN LATERAL (
        SELECT r.job_id, r.run FROM runs r
        WHERE r.job_id = s.job_id AND r.run = s.run AND r.state = 'queued' AND r.run_at <= now()
        FOR UPDATE SKIP LOCKED
    ) AS locked
    LIMIT $1
)
UPDATE runs r
SET state = 'running', attempt = r.attempt + 1, token = gen_random_uuid(), started_at = now(),
    lease_until = now() + make_interval(secs => $2)
FROM chosen c
WHERE r.job_id = c.job_id AND r.run = c.run
RETURNING r.*
"""

# Whoever holds the token ends the attempt; a zombie's token matches nothing, and then neither
# the row changes nor is its event stored.
_FINISH: Final = """
WITH finished AS (
    UPDATE runs r
    SET state = CASE WHEN f.retry_at IS NULL THEN 'ended' ELSE 'queued' END,
        run_at = coalesce(f.retry_at, r.run_at), failures = f.failures, losses = f.losses,
        token = NULL, lease_until = NULL
    FROM unnest($1::text[], $2::int[], $3::uuid[], $4::timestamptz[], $5::int[], $6::int[])
         AS f(job_id, run, token, retry_at, failures, losses)
    WHERE r.job_id = f.job_id AND r.run = f.run AND r.token = f.token AND r.state = 'running'
    RETURNING f.token
), stored AS (
    INSERT INTO outbox (event_id, topic, key, value, headers)
    SELECT m.event_id, m.topic, m.key, m.value, m.headers
    FROM unnest($7::uuid[], $8::text[], $9::bytea[], $10::bytea[], $11::text[], $3::uuid[])
         AS m(event_id, topic, key, value, headers, token)
    JOIN finished USING (token)
    ON CONFLICT (event_id) DO NOTHING
)
SELECT token FROM finished
"""

# A lease that ran out but that nobody reaped is revived: its job never stopped running. A row that
# is locked is being finished or reaped: renewing never waits for that, and the next beat knows.
_RENEW: Final = """
WITH held AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::uuid[]) AS h(job_id, run, token)
), free AS (
    SELECT r.job_id, r.run FROM runs r JOIN held USING (job_id, run, token)
    FOR UPDATE OF r SKIP LOCKED
), renewed AS (
    UPDATE runs r SET lease_until = now() + make_interval(secs => $4)
    FROM free f WHERE r.job_id = f.job_id AND r.run = f.run
)
SELECT token FROM runs JOIN held USING (job_id, run, token)
"""

# After a restart of the database every worker first gets the chance to renew what it runs.
_EXPIRED: Final = """
SELECT *, now() AS seen_at FROM runs
WHERE state = 'running' AND lease_until < now()
  AND now() > pg_postmaster_start_time() + make_interval(secs => $1)
ORDER BY lease_until
LIMIT $2
FOR UPDATE SKIP LOCKED
"""

# Two counts, because each can use its own partial index however many runs have ended.
_COUNTS: Final = """
SELECT (SELECT count(*) FROM runs WHERE state = 'queued') AS queued,
       (SELECT count(*) FROM runs WHERE state = 'running') AS running
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many runs wait and execute, over all workers."""

    queued: int
    running: int


async def insert(conn: Connection, runs: Sequence[NewRun], *, state: str) -> set[tuple[str, int]]:
    """Store runs that aren't known yet; return the (job id, run) of those that were new."""
    if not runs:
        return set()
    # In one order everywhere, so that two workers that store the same runs don't deadlock.
    runs = sorted(runs, key=lambda run: (run.job_id, run.run))
    rows = await conn.fetch(
        _INSERT,
        [r.job_id for r in runs],
        [r.run for r in runs],
        [r.tenant for r in runs],
        [r.created_at for r in runs],
        [r.report_type for r in runs],
        [r.format for r in runs],
        [r.request.model_dump_json(by_alias=True) if r.request else None for r in runs],
        [r.traceparent for r in runs],
        state,
    )
    return {(row["job_id"], row["run"]) for row in rows}


async def claim(conn: Connection, *, limit: int, lease: float) -> list[Attempt]:
    """Begin up to `limit` attempts of due runs, fairly between tenants."""
    rows = await conn.fetch(_CLAIM, limit, lease)
    return sorted((_attempt(row) for row in rows), key=lambda a: (a.job_id, a.run))


async def finish(
    conn: Connection, endings: Sequence[tuple[Ending, OutgoingMessage]]
) -> list[tuple[Ending, OutgoingMessage]]:
    """End attempts together with the outbox rows of their events; return those that counted."""
    rows = await conn.fetch(
        _FINISH,
        [e.attempt.job_id for e, _ in endings],
        [e.attempt.run for e, _ in endings],
        [e.attempt.token for e, _ in endings],
        [e.retry_at for e, _ in endings],
        [e.failures for e, _ in endings],
        [e.losses for e, _ in endings],
        *outbox.columns([message for _, message in endings]),
    )
    counted = {row["token"] for row in rows}
    return [pair for pair in endings if pair[0].attempt.token in counted]


async def renew(conn: Connection, attempts: Sequence[Attempt], *, lease: float) -> set[UUID]:
    """Prolong leases; return the tokens that still hold."""
    rows = await conn.fetch(
        _RENEW,
        [a.job_id for a in attempts],
        [a.run for a in attempts],
        [a.token for a in attempts],
        lease,
    )
    return {row["token"] for row in rows}


async def expired(
    conn: Connection, *, grace: float, limit: int = 100
) -> list[tuple[Attempt, datetime]]:
    """Lock attempts whose lease ran out; with each the present time.

    None are returned in the first `grace` seconds after a restart of the database.
    """
    return [(_attempt(row), row["seen_at"]) for row in await conn.fetch(_EXPIRED, grace, limit)]


async def notify_queued(conn: Connection) -> None:
    """Wake workers with free slots when the transaction commits."""
    await conn.execute(f"NOTIFY {QUEUED_CHANNEL}")


async def counts(conn: Connection) -> Counts:
    """Return how many runs are queued and running."""
    row = await conn.fetchrow(_COUNTS)
    return Counts(**row) if row else Counts(0, 0)


def _attempt(row: Record) -> Attempt:
    return Attempt(
        job_id=JobId(row["job_id"]),
        run=row["run"],
        attempt=row["attempt"],
        token=row["token"],
        tenant=row["tenant"],
        created_at=row["created_at"],
        report_type=row["report_type"],
        format=row["format"],
        request=_request(row["request"]),
        traceparent=row["traceparent"],
        started_at=row["started_at"],
        failures=row["failures"],
        losses=row["losses"],
    )


def _request(stored: str) -> RequestedReport | None:
    try:
        return RequestedReport.model_validate_json(stored)
    except ValidationError:
        return None
