"""The table of Idempotency-Keys in the gateway's own schema."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from gateway.batching import Batches
from gateway.domain import KeyedRequest, KeysUnavailableError, RememberedRequest
from shared.database.pool import PASSING_ERRORS, Connection, Database
from shared.events import TOPICS, OutgoingMessage, ReportRequested
from shared.job_id import JobId

_INSERT: Final = """
INSERT INTO idempotency_keys (tenant, key, job_id, fingerprint, value, headers)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[])
ON CONFLICT (tenant, key) DO NOTHING
RETURNING job_id
"""

_FIND: Final = """
SELECT tenant, key, job_id, fingerprint, value, headers, acked_at IS NOT NULL AS is_acknowledged
FROM idempotency_keys JOIN unnest($1::text[], $2::text[]) AS asked (tenant, key) USING (tenant, key)
"""

# The commit doesn't wait for the disk: where a crash takes it back, a replay publishes the same
# event once more.
_ACKNOWLEDGE: Final = """
UPDATE idempotency_keys AS k SET acked_at = now()
FROM unnest($1::text[], $2::text[]) AS done (tenant, key),
     (SELECT set_config('synchronous_commit', 'off', true)) AS at_leisure
WHERE k.tenant = done.tenant AND k.key = done.key AND k.acked_at IS NULL
"""

_PURGE: Final = """
DELETE FROM idempotency_keys WHERE (tenant, key) IN (
    SELECT tenant, key FROM idempotency_keys WHERE job_id < $1 ORDER BY job_id LIMIT $2
    FOR UPDATE SKIP LOCKED
)
"""

_UNAVAILABLE: Final = PASSING_ERRORS


class IdempotencyKeys:
    """Remembers requests by tenant and key. Each call ends within `timeout` seconds.

    Requests that come while a statement runs share the next one.
    """

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout
        self._claims = Batches(self._claim, longest_queue=database.longest_queue, timeout=timeout)

    async def claim(self, request: KeyedRequest) -> RememberedRequest:
        """Store a request whose key is new, durably; return what its key stands for.

        Raises:
            KeysUnavailableError: where it is unknown whether it was stored.

        """
        try:
            return await self._claims.ask(request)
        except TimeoutError as error:
            raise KeysUnavailableError(type(error).__name__) from error

    async def find(self, tenant: str, key: str) -> RememberedRequest | None:
        """Return what a key stands for, if anything.

        Raises:
            KeysUnavailableError: where the database doesn't answer.

        """
        async with self._connection() as connection:
            rows = await connection.fetch(_FIND, [tenant], [key])
        return _from_row(rows[0]) if rows else None

    async def acknowledge(self, requests: Collection[tuple[str, str]]) -> None:
        """Note that the events behind these (tenant, key) are on the log.

        Raises:
            KeysUnavailableError: where it is unknown whether it was noted.

        """
        async with self._connection() as connection:
            await connection.execute(
                _ACKNOWLEDGE, [tenant for tenant, _ in requests], [key for _, key in requests]
            )

    async def purge(self, before: JobId, limit: int) -> int:
        """Forget up to `limit` of the oldest keys whose jobs are older than `before`.

        Raises:
            KeysUnavailableError: where the database doesn't answer.

        """
        async with self._connection() as connection:
            outcome = await connection.execute(_PURGE, before, limit)
        return int(outcome.removeprefix("DELETE "))

    async def _claim(self, requests: Sequence[KeyedRequest]) -> list[RememberedRequest]:
        """Store those that are new, in the order of their keys: so two gateways can't deadlock."""
        ordered = sorted(requests, key=lambda request: (request.tenant, request.key))
        async with self._connection() as connection:
            rows = await connection.fetch(_INSERT, *_columns(ordered))
            inserted = {row["job_id"] for row in rows}
            others = [r for r in ordered if r.message.key.decode() not in inserted]
            known = await _find(connection, others) if others else {}
        return [_remembered(request, inserted, known) for request in requests]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with asyncio.timeout(self._timeout), self._database.connection() as connection:
                yield connection
        except _UNAVAILABLE as error:
            raise KeysUnavailableError(type(error).__name__) from error


async def _find(
    connection: Connection, requests: Sequence[KeyedRequest]
) -> dict[tuple[str, str], RememberedRequest]:
    rows = await connection.fetch(_FIND, [r.tenant for r in requests], [r.key for r in requests])
    return {(row["tenant"], row["key"]): _from_row(row) for row in rows}


def _remembered(
    request: KeyedRequest,
    inserted: Collection[str],
    known: dict[tuple[str, str], RememberedRequest],
) -> RememberedRequest:
    if request.message.key.decode() in inserted:
        return RememberedRequest(
            request.fingerprint, request.message, is_acknowledged=False, is_new=True
        )
    try:
        return known[request.tenant, request.key]
    except KeyError:
        # Purged between the two statements: the next try is a new request.
        raise KeysUnavailableError("the key expired at this moment") from None


def _columns(requests: Sequence[KeyedRequest]) -> tuple[list[object], ...]:
    return (
        [request.tenant for request in requests],
        [request.key for request in requests],
        [request.message.key.decode() for request in requests],
        [request.fingerprint for request in requests],
        [request.message.value for request in requests],
        [json.dumps(request.message.headers) for request in requests],
    )


def _from_row(row: asyncpg.Record) -> RememberedRequest:
    message = OutgoingMessage(
        topic=TOPICS[ReportRequested],
        key=row["job_id"].encode(),
        value=row["value"],
        headers=json.loads(row["headers"]),
    )
    return RememberedRequest(
        row["fingerprint"], message, is_acknowledged=row["is_acknowledged"], is_new=False
    )
