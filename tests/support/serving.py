"""Any application over real HTTP on a loopback port, in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK
from shared.serving import Server, configure
from shared.settings import ServerSettings

_START_SECONDS = 30.0
_LITTLE = 4096
"""Bytes; the kernel makes of it what it can."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs, and how it is asked to stop."""

    server: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def stop(self) -> None:
        """Ask for a graceful shutdown, as SIGTERM does."""
        self.server.should_exit = True


@asynccontextmanager
async def serving(app: ASGIApp, **settings: Any) -> AsyncIterator[Served]:
    """Serve `app` while the body runs, and end as a service does."""
    server = Server(configure(app, ServerSettings(host=LOOPBACK, port=0, **settings)))
    task = asyncio.create_task(server.serve())

    async def has_started() -> bool:
        return server.started or task.done()

    try:
        await poll_until(has_started, seconds=_START_SECONDS)
        yield Served(server, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await task


async def connect_and_read_nothing(port: int) -> asyncio.StreamWriter:
    """Connect as a client that never reads, and for which the kernel keeps little, as anywhere."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE)
    connection.setblocking(False)  # noqa: FBT003 - the only way to say it
    await asyncio.get_running_loop().sock_connect(connection, (LOOPBACK, port))
    _, writer = await asyncio.open_connection(sock=connection, limit=1)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    return writer
