"""The HTTP server of a service: uvicorn, and three things that ASGI has no word for.

What answers for long has to hear of a shutdown while the server still waits for it: a lifespan
may leave a function in its state under `STOPPING`, called when the server begins to stop. A
client that stopped reading has to be cut off, since a polite close waits for it: `cut_off`. And
who reads a body needs no clock for one that is there: `has_come_whole`.
"""

import socket
import sys
from contextlib import suppress
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Scope

from shared.http_protocol import BoundedHttpProtocol, HttpLimits, possible_connections
from shared.settings import ServerSettings

STOPPING: Final = "stopping"
_CONNECTION: Final = "report_jobs.connection"
_START_FAILED: Final = 3  # as `uvicorn.run` exits
_KEEP_ALIVE_SECONDS: Final = 75


class Server(uvicorn.Server):
    """Tells the application that the end begins before it waits for the open answers."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking connections, and wait for the open ones within the grace."""
        stopping = self.lifespan.state.get(STOPPING)
        if stopping is not None:
            stopping()
        await super().shutdown(sockets)


class _Protocol(BoundedHttpProtocol):
    """One connection, which each of its requests can ask and cut off."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_CONNECTION: {"protocol": self}}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.scope:
            # It refers to this connection, which would last until the next garbage collection.
            self.scope["extensions"] = {}


def configure(app: ASGIApp, settings: ServerSettings) -> uvicorn.Config:
    """Return how `app` is served."""

    class Protocol(_Protocol):
        limits = HttpLimits(
            connections=possible_connections(settings.max_connections),
            head_bytes=settings.max_head_bytes,
            url_bytes=settings.max_url_bytes,
            head_seconds=settings.head_timeout,
        )

    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=int(settings.shutdown_grace),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


def run_server(app: ASGIApp, settings: ServerSettings) -> None:
    """Serve until a signal; exit where the application or its port can't be opened."""
    server = Server(configure(app, settings))
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_START_FAILED)


def cut_off(scope: Scope) -> None:
    """End the request's connection at once, with all that is still to be sent over it."""
    protocol = _protocol_of(scope)
    if protocol is not None:  # another server's connection ends when the application raises
        protocol.transport.abort()


def has_come_whole(scope: Scope) -> bool:
    """Tell whether the request is here to its end; with another server that isn't known."""
    protocol = _protocol_of(scope)
    return protocol is not None and protocol.has_come_whole()


def _protocol_of(scope: Scope) -> _Protocol | None:
    """Return the connection of a request; None with another server, and once it is lost."""
    protocol: _Protocol | None = scope.get("extensions", {}).get(_CONNECTION, {}).get("protocol")
    return protocol
