"""The least HTTP/1.1 client: one request at a time over one kept connection, on loopback.

A complete client library costs more per request than the services that are measured. This one
knows only what they send: a status line, a Content-Length, and a body.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self, cast

from local_stack.ports import LOOPBACK

ANSWER_SECONDS: Final = 30.0

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length: "
_STATUS: Final = slice(9, 12)  # HTTP/1.1 202


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the document in the body."""
        return json.loads(self.body)


def get(path: str, *headers: str) -> bytes:
    """Return a GET request as it is sent; each of `headers` is a line."""
    lines = (f"GET {path} HTTP/1.1", f"Host: {LOOPBACK}", *headers, "", "")
    return "\r\n".join(lines).encode()


NUMBER: Final = "<number>"
"""Stands in a request's head for a number that no other request has."""


def post(path: str, document: Any, *, key: str | None = None) -> bytes:
    """Return a POST request as it is sent, with an Idempotency-Key where one is given."""
    body = json.dumps(document).encode()
    keyed = f"Idempotency-Key: {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n{keyed}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Wire(asyncio.Protocol):
    """Sends requests and calls `answered` with each answer, `lost` when the server hangs up."""

    def __init__(self, answered: Callable[[Answer], None], lost: Callable[[], None]) -> None:
        self._answered = answered
        self._lost = lost
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        # uvloop's transport has the interface without inheriting it.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        """Send a request; the one before must have been answered."""
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Gather an answer until it is complete."""
        received = self._received = self._received + data
        head_end = received.find(_HEAD_END)
        if head_end < 0:
            return
        length_at = received.find(_LENGTH, 0, head_end) + len(_LENGTH)
        length = int(received[length_at : received.find(b"\r", length_at)])
        body_at = head_end + len(_HEAD_END)
        if len(received) < body_at + length:
            return
        self._received = b""
        self._answered(Answer(int(received[_STATUS]), received[body_at:]))

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the interface gives it
        """Say that there is no more answer to come."""
        self._lost()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class Client:
    """One kept connection for code that waits for each answer."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Answer] | None = None
        self._wire = Wire(self._answered, self._lost)

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Connect to a server on loopback."""
        client = cls()
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: client._wire, LOOPBACK, port)
        return client

    async def ask(self, request: bytes) -> Answer:
        """Send a request and return its answer.

        Raises:
            OSError: where none comes in time.

        """
        self._answer = asyncio.get_running_loop().create_future()
        self._wire.send(request)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._answer

    def close(self) -> None:
        """Hang up."""
        self._wire.close()

    def _answered(self, answer: Answer) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _lost(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))
