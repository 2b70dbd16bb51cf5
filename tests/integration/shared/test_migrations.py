"""Migrations: to the newest revision, each run harmless, all or nothing."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import ProgrammingError

from shared.database import migrations, revisions
from shared.database.pool import open_database
from tests.support.servers import DatabaseUrls, patient_settings

FIRST = """
from alembic import op
revision = "0001"
down_revision = None
def upgrade():
    op.execute("CREATE TABLE things (name text)")
"""
SECOND = """
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade():
    op.execute("ALTER TABLE things ADD COLUMN size int")
    op.execute("{last}")
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "0001_first.py").write_text(FIRST)
    return tmp_path


def add_second(directory: Path, *, last: str) -> None:
    (directory / "versions" / "0002_second.py").write_text(SECOND.format(last=last))


async def migrate(urls: DatabaseUrls, directory: Path) -> None:
    await asyncio.to_thread(
        migrations.migrate, urls.notifier, schema="notifier", directory=directory
    )


async def revision(urls: DatabaseUrls) -> str | None:
    async with open_database(
        patient_settings(urls.notifier), schema="notifier", service="test"
    ) as database:
        return await revisions.current(database)


async def columns(urls: DatabaseUrls) -> list[str]:
    connection = await asyncpg.connect(urls.admin)
    try:
        rows = await connection.fetch(
            "SELECT table_schema || '.' || column_name AS name FROM information_schema.columns"
            " WHERE table_name = 'things' ORDER BY ordinal_position"
        )
        return [row["name"] for row in rows]
    finally:
        await connection.close()


async def test_schema_is_brought_to_the_newest_revision(
    database: DatabaseUrls, directory: Path
) -> None:
    await migrate(database, directory)
    add_second(directory, last="SELECT 1")

    await migrate(database, directory)

    assert await revision(database) == revisions.head(directory) == "0002"
    assert await columns(database) == ["notifier.name", "notifier.size"]


async def test_second_run_changes_nothing(database: DatabaseUrls, directory: Path) -> None:
    await migrate(database, directory)
    await migrate(database, directory)

    assert await revision(database) == "0001"


async def test_runs_at_the_same_time_wait_for_each_other(
    database: DatabaseUrls, directory: Path
) -> None:
    await asyncio.gather(*(migrate(database, directory) for _ in range(4)))

    assert await columns(database) == ["notifier.name"]


async def test_failed_revision_leaves_nothing_behind(
    database: DatabaseUrls, directory: Path
) -> None:
    await migrate(database, directory)
    add_second(directory, last="SELECT no_such_column")

    with pytest.raises(ProgrammingError):
        await migrate(database, directory)

    assert await revision(database) == "0001"
    assert await columns(database) == ["notifier.name"]


async def test_schema_that_was_never_migrated_has_no_revision(database: DatabaseUrls) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await revision(database)


def test_directory_without_migrations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()

    with pytest.raises(LookupError, match="no migrations"):
        revisions.head(tmp_path)
