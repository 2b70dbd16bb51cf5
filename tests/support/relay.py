"""A relay between clients and a PostgreSQL server: far away, or with words of its own."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

_FIELDS: Final = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection because of a crash\0\0"
GOODBYE: Final = b"E" + struct.pack("!I", len(_FIELDS) + 4) + _FIELDS


class Relay:
    """Passes bytes on both ways, each time after `delay` seconds."""

    def __init__(self, url: str, delay: float = 0.0) -> None:
        self._url = urlsplit(url)
        self._delay = delay
        self._clients: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    def say(self, message: bytes) -> None:
        """Send a message to all clients as if it came from the server."""
        for client in self._clients:
            client.write(message)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen at the URL that is given: the server's, but for host and port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            credentials = self._url.netloc.rpartition("@")[0]
            port = server.sockets[0].getsockname()[1]
            yield self._url._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection(
            self._url.hostname, self._url.port
        )
        self._clients.append(client)
        for source, target in ((reader, upstream), (upstream_reader, client)):
            self._tasks.append(asyncio.create_task(self._pass_on(source, target)))

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await asyncio.sleep(self._delay)
                target.write(data)
        finally:
            target.close()
