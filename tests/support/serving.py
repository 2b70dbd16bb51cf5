"""Any application over real HTTP on a loopback port, in this process."""

import asyncio
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
