"""Notifications over a connection that may break at any time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from shared.database.listen import listen
from tests.support.report_worker import eventually
from tests.support.servers import DatabaseUrls, patient_settings

CHANNEL = "something_happened"
LISTENERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'test-listen' AND datname = current_database()
"""


@asynccontextmanager
async def listening(url: str, heard: list[str]) -> AsyncIterator[None]:
    """Listen until the end of the body, once the first connection stands."""
    settings = patient_settings(url)
    channels = {CHANNEL: heard.append}
    loop = asyncio.create_task(listen(settings, service="test", channels=channels))
    try:
        await eventually(lambda: heard == [""])
        yield
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def end_listeners(admin: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Break the connection of every listener."""
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'test-listen' AND datname = current_database()"
    )


async def test_a_notification_wakes_with_its_payload(database: DatabaseUrls) -> None:
    heard: list[str] = []
    admin = await asyncpg.connect(database.admin)
    try:
        async with listening(database.report_worker, heard):
            await admin.execute(f"NOTIFY {CHANNEL}, 'seven'")
            await eventually(lambda: heard == ["", "seven"])
    finally:
        await admin.close()


async def test_a_broken_connection_is_made_anew_and_wakes_for_what_was_missed(
    database: DatabaseUrls,
) -> None:
    heard: list[str] = []
    admin = await asyncpg.connect(database.admin)
    try:
        async with listening(database.report_worker, heard):
            await end_listeners(admin)
            await eventually(lambda: heard == ["", ""])
            await admin.execute(f"NOTIFY {CHANNEL}, 'eight'")
            await eventually(lambda: heard == ["", "", "eight"])
    finally:
        await admin.close()


async def test_one_connection_serves_several_channels(database: DatabaseUrls) -> None:
    some: list[str] = []
    others: list[str] = []
    settings = patient_settings(database.report_worker)
    channels = {CHANNEL: some.append, "something_else": others.append}
    loop = asyncio.create_task(listen(settings, service="test", channels=channels))
    admin = await asyncpg.connect(database.admin)
    try:
        await eventually(lambda: (some, others) == ([""], [""]))
        await admin.execute("NOTIFY something_else, 'nine'")
        await eventually(lambda: (some, others) == ([""], ["", "nine"]))
        assert await admin.fetchval(LISTENERS) == 1
        await end_listeners(admin)
        await eventually(lambda: (some, others) == (["", ""], ["", "nine", ""]))
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await admin.close()


async def test_a_database_that_is_not_there_yet_is_waited_for(database: DatabaseUrls) -> None:
    heard: list[str] = []
    admin = await asyncpg.connect(database.admin)
    late = f"{database.name}_late"
    settings = patient_settings(f"{database.admin}_late")
    channels = {CHANNEL: heard.append}
    loop = asyncio.create_task(listen(settings, service="test", channels=channels))
    try:
        await asyncio.sleep(0)  # the first attempt to connect is under way
        await admin.execute(f"CREATE DATABASE {late}")
        await eventually(lambda: heard == [""])
        assert not loop.done()
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await admin.execute(f"DROP DATABASE IF EXISTS {late} WITH (FORCE)")
        await admin.close()
