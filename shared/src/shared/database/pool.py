"""A bounded asyncpg pool on one service's schema, and which failures pass by themselves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import asyncpg

from shared.settings import DatabaseSettings

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

TRANSIENT_ERRORS: Final = (
    OSError,  # refused, reset, unreachable; includes TimeoutError
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # the connection went away under our hands
    asyncpg.InternalClientError,  # the server said goodbye before the connection went away
    asyncpg.OperatorInterventionError,  # shutdown, crash recovery, a statement timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.TransactionRollbackError,  # deadlock, serialization failure
)
"""What a database call may raise that a later try can be free of."""

PASSING_ERRORS: Final = (*TRANSIENT_ERRORS, asyncpg.PostgresError)
"""What loops outlive that run constant statements: a schema that isn't migrated yet, or a right
that is missing, is mended by somebody else."""


_CLOSED: Final = "the handler is closed"
"""What uvloop says, in a bare RuntimeError, to whoever writes between a connection's end and the
driver's hearing of it."""


class PoolBusyError(ConnectionError):
    """So many wait for a connection that one more would only wait in vain."""


class Database:
    """One service's pool. Every wait on it is bounded by its settings."""

    def __init__(self, pool: Pool, settings: DatabaseSettings) -> None:
        self._pool = pool
        self._borrowers = 0
        self._settings = settings

    @property
    def longest_queue(self) -> int:
        """How many may wait for a connection at once."""
        return self._settings.database_queue

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; each statement commits by itself."""
        if self._borrowers >= self._settings.database_pool_size + self._settings.database_queue:
            raise PoolBusyError("too many wait for a connection")
        self._borrowers += 1
        try:
            async with self._pool.acquire(timeout=self._settings.database_connect_timeout) as conn:
                yield conn
        except RuntimeError as error:
            if _CLOSED not in str(error):
                raise
            raise ConnectionResetError("the connection is closed") from error
        finally:
            self._borrowers -= 1

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction."""
        async with self.connection() as conn, conn.transaction():
            yield conn

    async def ping(self) -> None:
        """Raise unless the database answers."""
        async with self.connection() as conn:
            await conn.execute("SELECT 1")

    async def close(self) -> None:
        """Close politely within the connect timeout, else at once."""
        try:
            await asyncio.wait_for(self._pool.close(), self._settings.database_connect_timeout)
        except TimeoutError:
            self._pool.terminate()


@asynccontextmanager
async def open_database(
    settings: DatabaseSettings,
    *,
    schema: str,
    service: str,
    session: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Database]:
    """Open the pool without connecting yet: a service starts while its database is away.

    `session` holds PostgreSQL settings of the service's own for all of its sessions.
    """
    timeout = settings.database_command_timeout
    pool = asyncpg.create_pool(
        str(settings.database_url),
        min_size=0,
        max_size=settings.database_pool_size,
        timeout=settings.database_connect_timeout,
        command_timeout=timeout,
        reset=_keep_session,
        server_settings={
            "application_name": service,
            "search_path": schema,
            "statement_timeout": str(int(timeout * 1000)),
            "idle_in_transaction_session_timeout": str(int(timeout * 1000)),
            "jit": "off",  # short statements only
            **session,
        },
    )
    await pool
    database = Database(pool, settings)
    try:
        yield database
    finally:
        await database.close()


async def _keep_session(_conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Save the round trip of a reset between two borrowers: none changes the session.

    The pool itself still rolls back a transaction that a borrower left open.
    """
