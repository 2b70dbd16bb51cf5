"""Attempts under their leases: claimed, renewed, finished, expired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from report_worker.domain import Attempt, Ending
from report_worker.store.rows import attempt_of
from shared import outbox
from shared.database.pool import Connection
from shared.events import OutgoingMessage

# Claims under a limit per tenant happen one after the other: each has to see what the others
# began. Whoever claims never waits for a row, so this lock is the last one that it waits for.
_CLAIM_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('report_worker.claim', 0))"

# Tenants take turns: a tenant's next job queues behind as many turns as the tenant already has
# jobs running, and of two with as many the one goes first who was served longer ago. The recursion
# finds the distinct tenants by index, however long the queue is. Only what is chosen is locked, row
# by row in the order of the turns, so that workers that claim at the same moment get different
# jobs; the list is longer than the choice because of what they hold.
CLAIM: Final = """
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
                                                       ORDER BY due.run_at, due.job_id) AS turn,
           coalesce(array_position($4::text[], w.tenant), 0) AS served
    FROM waiting w
    LEFT JOIN busy b USING (tenant)
    CROSS JOIN LATERAL (
        SELECT r.job_id, r.run, r.run_at FROM runs r
        WHERE r.state = 'queued' AND r.tenant = w.tenant AND r.run_at <= now()
          AND (r.started_at IS NOT NULL OR r.start_by > now())
        ORDER BY r.run_at, r.job_id
        LIMIT greatest(2, least(8 * $1, 64 * $1 / (SELECT count(*) FROM waiting)))
    ) AS due
    WHERE w.tenant IS NOT NULL
    ORDER BY turn, served, due.run_at, due.job_id
    LIMIT 8 * $1
), chosen AS (
    SELECT locked.job_id, locked.run
    FROM (SELECT * FROM shortlist WHERE turn <= $3 ORDER BY turn, served, run_at, job_id) AS s
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
# the row changes nor is its event stored. A run that is to be cancelled isn't attempted again.
# One that is due at once is so by the clock here: its worker may know its start by an estimate that
# is a little late, and whoever is told of the run now wouldn't look for it again so soon.
_FINISH: Final = """
WITH finished AS (
    UPDATE runs r
    SET state = CASE WHEN f.retry_at IS NULL THEN 'ended' ELSE 'queued' END,
        run_at = CASE WHEN f.is_due THEN now() ELSE coalesce(f.retry_at, r.run_at) END,
        failures = f.failures, losses = f.losses,
        token = NULL, lease_until = NULL, artifact_path = f.artifact_path,
        request = CASE WHEN f.retry_at IS NULL THEN NULL ELSE r.request END
    FROM unnest($1::text[], $2::int[], $3::uuid[], $4::timestamptz[], $5::int[], $6::int[],
                $7::text[], $13::bool[])
         AS f(job_id, run, token, retry_at, failures, losses, artifact_path, is_due)
    WHERE r.job_id = f.job_id AND r.run = f.run AND r.token = f.token AND r.state = 'running'
      AND (f.retry_at IS NULL OR r.cancel_requested_at IS NULL)
    RETURNING f.token
), stored AS (
    INSERT INTO outbox (event_id, topic, key, value, headers)
    SELECT m.event_id, m.topic, m.key, m.value, m.headers
    FROM unnest($8::uuid[], $9::text[], $10::bytea[], $11::bytea[], $12::text[], $3::uuid[])
         AS m(event_id, topic, key, value, headers, token)
    JOIN finished USING (token)
    ON CONFLICT (event_id) DO NOTHING
)
SELECT token FROM finished
"""

# A lease that ran out but that nobody reaped is revived: its job never stopped running. A row that
# is locked is being finished or reaped: renewing never waits for that, and the next beat knows.
# Progress is told only of what is renewed.
_RENEW: Final = """
WITH held AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::uuid[]) AS h(job_id, run, token)
), free AS (
    SELECT r.job_id, r.run, r.token FROM runs r JOIN held USING (job_id, run, token)
    FOR UPDATE OF r SKIP LOCKED
), renewed AS (
    UPDATE runs r SET lease_until = now() + make_interval(secs => $4)
    FROM free f WHERE r.job_id = f.job_id AND r.run = f.run
), stored AS (
    INSERT INTO outbox (event_id, topic, key, value, headers)
    SELECT m.event_id, m.topic, m.key, m.value, m.headers
    FROM unnest($5::uuid[], $6::text[], $7::bytea[], $8::bytea[], $9::text[], $10::uuid[])
         AS m(event_id, topic, key, value, headers, token)
    JOIN free USING (token)
    ON CONFLICT (event_id) DO NOTHING
)
SELECT token, runs.cancel_requested_at IS NOT NULL AS is_cancelled,
       free.token IS NOT NULL AS is_free
FROM runs JOIN held USING (job_id, run, token) LEFT JOIN free USING (job_id, run, token)
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

_NO_LIMIT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Held:
    """What the rows say of leases: which hold, which of those are to be stopped or were free."""

    tokens: frozenset[UUID]
    cancelled: frozenset[UUID]
    free: frozenset[UUID]
    """Those whose progress was stored, where there was any."""


@dataclass(frozen=True, slots=True)
class Expired:
    """An attempt whose worker fell silent, as it is at `seen_at`."""

    attempt: Attempt
    is_cancelled: bool
    seen_at: datetime


async def claim(
    conn: Connection,
    *,
    limit: int,
    lease: float,
    tenant_limit: int | None = None,
    served: Sequence[str] = (),
) -> list[Attempt]:
    """Begin up to `limit` attempts of due runs, fairly between tenants.

    No tenant gets more than `tenant_limit` running at once. `served` are those that had a turn
    lately, the last one last.
    """
    if tenant_limit is not None:
        await conn.execute(_CLAIM_ALONE)
    rows = await conn.fetch(CLAIM, limit, lease, tenant_limit or _NO_LIMIT, served)
    return sorted((attempt_of(row) for row in rows), key=lambda a: (a.job_id, a.run))


async def finish(
    conn: Connection, endings: Sequence[tuple[Ending, OutgoingMessage]]
) -> list[tuple[Ending, OutgoingMessage]]:
    """End attempts together with the outbox rows of their events; return those that counted.

    A zombie's doesn't count, nor does one after which a cancelled run would be attempted again.
    """
    # In one order everywhere, so that two workers that want the same rows don't deadlock.
    endings = sorted(endings, key=lambda pair: (pair[0].attempt.job_id, pair[0].attempt.run))
    rows = await conn.fetch(
        _FINISH,
        [e.attempt.job_id for e, _ in endings],
        [e.attempt.run for e, _ in endings],
        [e.attempt.token for e, _ in endings],
        [e.retry_at for e, _ in endings],
        [e.failures for e, _ in endings],
        [e.losses for e, _ in endings],
        [e.artifact_path for e, _ in endings],
        *outbox.columns([message for _, message in endings]),
        [e.is_due_at_once for e, _ in endings],
    )
    counted = {row["token"] for row in rows}
    return [pair for pair in endings if pair[0].attempt.token in counted]


async def renew(
    conn: Connection,
    attempts: Sequence[Attempt],
    progress: Mapping[UUID, OutgoingMessage],
    *,
    lease: float,
) -> Held:
    """Prolong leases, and store the progress of attempts, by their tokens, in the outbox."""
    rows = await conn.fetch(
        _RENEW,
        [a.job_id for a in attempts],
        [a.run for a in attempts],
        [a.token for a in attempts],
        lease,
        *outbox.columns(list(progress.values())),
        list(progress),
    )
    return Held(
        tokens=frozenset(row["token"] for row in rows),
        cancelled=frozenset(row["token"] for row in rows if row["is_cancelled"]),
        free=frozenset(row["token"] for row in rows if row["is_free"]),
    )


async def expired(conn: Connection, *, grace: float, limit: int) -> list[Expired]:
    """Lock up to `limit` attempts whose lease ran out.

    None are returned in the first `grace` seconds after a restart of the database.
    """
    return [
        Expired(attempt_of(row), row["cancel_requested_at"] is not None, row["seen_at"])
        for row in await conn.fetch(_EXPIRED, grace, limit)
    ]
