"""Schema migrations: Alembic revisions with plain SQL, one history per service schema."""

import asyncio
import zlib
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.database.revisions import VERSION_TABLE


def migrate(database_url: str, *, schema: str, directory: Path, timeout: float = 120.0) -> None:
    """Bring `schema` to the newest revision under `directory`/versions.

    Several runs at once are safe: an advisory lock lets one work while the others wait.

    Raises:
        TimeoutError: where the lock or the migration takes longer than `timeout` seconds.

    """
    asyncio.run(asyncio.wait_for(_migrate(database_url, schema, directory), timeout))


async def _migrate(database_url: str, schema: str, directory: Path) -> None:
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(
        url,
        poolclass=NullPool,
        connect_args={
            "server_settings": {"search_path": schema, "application_name": f"{schema}-migrate"}
        },
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, schema, _scripts(directory))
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, schema: str, scripts: ScriptDirectory) -> None:
    lock = zlib.crc32(f"report-jobs/migrate/{schema}".encode())
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})

    def plan(revision: Any, _context: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", revision)  # noqa: SLF001 - as Alembic's own command does

    with EnvironmentContext(_config(scripts.dir), scripts, fn=plan) as environment:
        environment.configure(
            connection=connection, version_table=VERSION_TABLE, version_table_schema=schema
        )
        environment.run_migrations()


def _scripts(directory: Path | str) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(directory))


def _config(directory: Path | str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(directory))
    config.set_main_option("path_separator", "os")
    return config
