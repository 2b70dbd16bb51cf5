"""The table `gateway.api_keys`. Whatever changes in it is told on a channel, in the same commit."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from gateway.domain import ApiKey, Caller, known_scopes
from shared.database.pool import Database

API_KEYS_CHANNEL: Final = "report_jobs_api_keys"

_COLUMNS: Final = "key_id, sha256, tenant, scopes, name, created_at, expires_at, revoked_at"

_LIVE: Final = f"""
    SELECT {_COLUMNS} FROM api_keys
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""  # noqa: S608 - constants only

_ALL: Final = f"""
    SELECT {_COLUMNS} FROM api_keys
    WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, created_at, key_id
"""  # noqa: S608 - constants only

_INSERT: Final = """
    WITH inserted AS (
        INSERT INTO api_keys (key_id, sha256, tenant, scopes, name, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        RETURNING key_id
    )
    SELECT pg_notify($7, '') FROM inserted
"""

_REVOKE: Final = """
    WITH revoked AS (
        UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp())
        WHERE key_id = $1
        RETURNING key_id
    )
    SELECT key_id, pg_notify($2, '') FROM revoked
"""


class ApiKeyStore:
    """Reads and writes keys. Each call ends within `timeout` seconds."""

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout

    async def live(self) -> list[ApiKey]:
        """Return the keys that are neither revoked nor expired."""
        return [_key(record) for record in await self._fetch(_LIVE)]

    async def of_tenant(self, tenant: str | None) -> list[ApiKey]:
        """Return all keys that ever were, of one tenant or of all."""
        return [_key(record) for record in await self._fetch(_ALL, tenant)]

    async def add(
        self, key_id: str, sha256: bytes, caller: Caller, name: str, expires_at: datetime | None
    ) -> None:
        """Store a new key."""
        scopes = sorted(caller.scopes)
        arguments = (key_id, sha256, caller.tenant, scopes, name, expires_at, API_KEYS_CHANNEL)
        await self._fetch(_INSERT, *arguments)

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key, once and for all; False where there is none of this id."""
        return bool(await self._fetch(_REVOKE, key_id, API_KEYS_CHANNEL))

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        async with asyncio.timeout(self._timeout), self._database.connection() as connection:
            records: Sequence[asyncpg.Record] = await connection.fetch(query, *arguments)
        return records


def _key(record: asyncpg.Record) -> ApiKey:
    return ApiKey(
        key_id=record["key_id"],
        sha256=record["sha256"],
        caller=Caller(record["tenant"], known_scopes(record["scopes"])),
        name=record["name"],
        created_at=record["created_at"],
        expires_at=record["expires_at"],
        revoked_at=record["revoked_at"],
    )
