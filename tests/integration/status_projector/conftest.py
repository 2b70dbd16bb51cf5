"""A migrated read model in a database of the test's own."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.database.migrations import migrate
from shared.database.pool import Database, open_database
from status_projector.app import MIGRATIONS, SCHEMA
from status_projector.settings import Settings
from tests.support.servers import DatabaseUrls


@pytest.fixture
def settings(database: DatabaseUrls) -> Settings:
    return Settings(database_url=database.status_projector, port=0)


@pytest.fixture
async def read_model(settings: Settings) -> AsyncIterator[Database]:
    await asyncio.to_thread(
        migrate, str(settings.database_url), schema=SCHEMA, directory=MIGRATIONS
    )
    async with open_database(settings, schema=SCHEMA, service="test") as opened:
        yield opened
