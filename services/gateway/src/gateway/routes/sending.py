"""Answers that are sent piece by piece, to clients that may leave or stop reading at any time."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.domain import ArtifactMissingError, ArtifactStoreUnavailableError
from shared.serving import cut_off

_log = structlog.get_logger()


class Sender:
    """Sends the parts of one answer, each of which the client has `limit` seconds to take.

    The server buffers some 64 KiB for a connection, then it lets us wait: so what a client doesn't
    read costs no more than that, and no longer than the limit.
    """

    def __init__(self, send: Send, limit: float) -> None:
        self._send = send
        self._limit = limit

    async def start(self, response: Response) -> None:
        """Send status and headers."""
        await self._in_time(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": response.raw_headers,
            }
        )

    async def part(self, body: bytes) -> None:
        """Send a part; raises TimeoutError where the client doesn't take what it was sent."""
        await self._in_time({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        """Send the end."""
        await self._in_time({"type": "http.response.body", "body": b"", "more_body": False})

    async def _in_time(self, message: Message) -> None:
        async with asyncio.timeout(self._limit):
            await self._send(message)


class FileStream(Response):
    """A file from the store, read only as fast as the client takes it.

    What ends it too early can't be said in HTTP any more: the connection is cut off, and the
    client sees from Content-Length that bytes are missing.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        status_code: int,
        headers: Mapping[str, str],
        client_timeout: float,
    ) -> None:
        self._chunks = chunks
        self._client_timeout = client_timeout
        self.status_code = status_code
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        gone = asyncio.create_task(disconnection(receive))
        try:
            await self._stream(Sender(send, self._client_timeout), gone)
        except TimeoutError:
            await drop(scope, gone, "the client stopped reading")
        except (ArtifactStoreUnavailableError, ArtifactMissingError) as error:
            await drop(scope, gone, f"the store stopped: {error}")
        finally:
            gone.cancel()

    async def _stream(self, sender: Sender, gone: "asyncio.Task[None]") -> None:
        async with aclosing(self._chunks) as chunks:
            await sender.start(self)
            async for chunk in chunks:
                if gone.done():
                    return
                await sender.part(chunk)
        await sender.end()


async def disconnection(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drop(scope: Scope, gone: "asyncio.Task[None]", why: str, **context: Any) -> None:
    """Cut the client off in the middle of its answer, and see it go."""
    route = getattr(scope.get("route"), "path", None)
    _log.info("answer broken off", route=route, reason=why, **context)
    cut_off(scope)
    # Else the server complains of an unfinished answer, which is all that comes of not seeing it.
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await gone
