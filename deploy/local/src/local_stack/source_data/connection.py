"""One transaction in the demo's data source, its tables in place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from local_stack.errors import SetupError

_CONNECT_SECONDS: Final = 10.0
_STATEMENT_SECONDS: Final = 1800.0
_LOCK: Final = 0x73686F70  # "shop": whoever fills the tables, does it one after the other
_SCHEMA: Final = Path(__file__).with_name("schema.sql")


async def create_tables(dsn: str) -> None:
    """Make the empty tables, so that a report over no data has no rows instead of an error."""
    async with filling(dsn):
        pass


@asynccontextmanager
async def filling(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a transaction with tables to fill; leaving with an error leaves nothing of it.

    Raises `SetupError` where the database can't be reached or goes away.
    """
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=_CONNECT_SECONDS,
            command_timeout=_STATEMENT_SECONDS,
            server_settings={"TimeZone": "UTC", "client_min_messages": "warning"},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise SetupError(f"the data source doesn't take connections: {error}") from error
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute(_SCHEMA.read_text(encoding="utf-8"))
            yield connection
    except (OSError, asyncpg.PostgresConnectionError) as error:
        raise SetupError(f"the data source went away: {error}") from error
    finally:
        connection.terminate()
