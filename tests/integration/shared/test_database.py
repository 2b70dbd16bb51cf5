"""How a connection that breaks looks to those who use the pool."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import pytest

from shared.database.pool import TRANSIENT_ERRORS, PoolBusyError, open_database
from shared.settings import DatabaseSettings
from tests.support.servers import DatabaseUrls

_FIELDS: Final = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection because of a crash\0\0"
GOODBYE: Final = b"E" + struct.pack("!I", len(_FIELDS) + 4) + _FIELDS


class Relay:
    """Passes bytes between clients and a server, and can put words into the server's mouth."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._clients: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    def say(self, message: bytes) -> None:
        """Send a message to all clients as if it came from the server."""
        for client in self._clients:
            client.write(message)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen on the port that is given."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection(*self._address)
        self._clients.append(client)
        for source, target in ((reader, upstream), (upstream_reader, client)):
            self._tasks.append(asyncio.create_task(_pass_on(source, target)))


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            target.write(data)
    finally:
        target.close()


async def test_a_server_that_said_goodbye_on_an_idle_connection_is_a_passing_failure(
    database: DatabaseUrls,
) -> None:
    server = urlsplit(database.gateway)
    assert server.hostname
    assert server.port
    relay = Relay(server.hostname, server.port)
    async with relay.listening() as port:
        url = database.gateway.replace(f":{server.port}/", f":{port}/")
        settings = DatabaseSettings.model_validate(
            {"database_url": url, "database_command_timeout": 2.0}
        )
        async with (
            open_database(settings, schema="gateway", service="test") as pool,
            open_database(settings, schema="gateway", service="test") as another,
        ):
            await pool.ping()
            relay.say(GOODBYE)
            await another.ping()  # takes many turns of the loop, and the goodbye is read in one
            with pytest.raises(TRANSIENT_ERRORS):
                await pool.ping()
            await pool.ping()


async def test_who_would_wait_behind_too_many_for_a_connection_is_refused_at_once(
    database: DatabaseUrls,
) -> None:
    settings = DatabaseSettings.model_validate(
        {"database_url": database.gateway, "database_pool_size": 1, "database_queue": 1}
    )
    async with open_database(settings, schema="gateway", service="test") as pool:
        async with pool.connection():
            waiting = asyncio.create_task(pool.ping())
            await asyncio.sleep(0)
            with pytest.raises(PoolBusyError) as refusal:
                await pool.ping()
            assert isinstance(refusal.value, TRANSIENT_ERRORS)
        await waiting
        await pool.ping()
