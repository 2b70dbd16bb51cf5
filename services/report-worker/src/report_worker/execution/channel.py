"""Frames of a 4-byte length over the socket between parent and child."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, cast

from pydantic import BaseModel

_LENGTH: Final = struct.Struct(">I")
_LONGEST_FRAME: Final = 64 * 1024 * 1024


class Channel(asyncio.Protocol):
    """One end of the socket.

    Each frame's body is handed to `on_frame`, and the end of the other side, which comes once, to
    `on_end`. Whoever waits for a frame can therefore be cancelled without losing half of one.
    """

    def __init__(self, on_frame: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_end = on_end
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's isn't derived from it

    def data_received(self, data: bytes) -> None:
        """Hand on the frames that are complete; one of no message of ours ends the channel."""
        received = self._received
        received += data
        start = 0
        while len(received) >= start + _LENGTH.size:
            (length,) = _LENGTH.unpack_from(received, start)
            if length > _LONGEST_FRAME:
                self.close()
                break
            end = start + _LENGTH.size + length
            if len(received) < end:
                break
            self._on_frame(bytes(received[start + _LENGTH.size : end]))
            start = end
        del received[:start]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell that the other side is gone, or that this one was closed."""
        self._on_end()

    def send(self, message: BaseModel) -> None:
        """Send one frame; one for an end that is gone is lost."""
        body = message.model_dump_json().encode()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        """Close this end."""
        if self._transport is not None:
            self._transport.abort()


async def open_channel(
    end: socket.socket, on_frame: Callable[[bytes], None], on_end: Callable[[], None]
) -> Channel:
    """Open a channel on one end of a socket pair."""
    _, channel = await asyncio.get_running_loop().create_connection(
        lambda: Channel(on_frame, on_end), sock=end
    )
    return channel
