"""Servers on loopback for the notifier's tests: HTTP ones that misbehave, and a name server."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from typing import cast

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class RawServer:
    """A TCP server that shows one behaviour to every connection and keeps what it was sent."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    def url(self, path: str = "/hook", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


@contextlib.asynccontextmanager
async def raw_server(
    behave: Behaviour, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Serve `behave`, which starts once a whole request has been read."""
    server = RawServer()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.requests.append(await read_request(reader))
        await behave(reader, writer)

    async with _serving(connected, tls) as server.port:
        yield server


@contextlib.asynccontextmanager
async def silent_server(behave: Behaviour) -> AsyncIterator[RawServer]:
    """Serve `behave` from the moment of the connection, without reading a request."""
    server = RawServer()

    async with _serving(behave, None) as server.port:
        yield server


@contextlib.asynccontextmanager
async def _serving(behave: Behaviour, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await behave(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(connected(reader, writer)))

    server = await asyncio.start_server(start, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    return head + await reader.readexactly(length)


def answering(*parts: bytes) -> Behaviour:
    """Send the parts and close."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return behave


def answering_then_waiting(*parts: bytes) -> Behaviour:
    """Send the parts and keep the connection open."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(*parts)(reader, writer)
        await reader.read()

    return behave


def repeating(first: bytes, again: bytes, pause: float = 0) -> Behaviour:
    """Send `first`, then `again` for as long as the other side stays."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection with RST instead of FIN."""
    writer.transport.abort()


_TYPES = {1: "A", 28: "AAAA"}


class NameServer(asyncio.DatagramProtocol):
    """Answers A and AAAA queries over UDP.

    `answers` maps a name to a list of answers, one per query of a type, the last of them for ever;
    each is a list of addresses, which `alias <name>` may precede, or `nxdomain`, `servfail` or
    `silent`. Names that it doesn't know don't exist.
    """

    def __init__(self, answers: Mapping[str, list[list[str] | str]]) -> None:
        self._answers = answers
        self.queries: list[tuple[str, str]] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, end = _question_name(data)
        kind = _TYPES.get(int.from_bytes(data[end : end + 2], "big"), "other")
        earlier = self.queries.count((name, kind))
        self.queries.append((name, kind))
        options = self._answers.get(name)
        answer = "nxdomain" if options is None else options[min(earlier, len(options) - 1)]
        reply = _reply(data, end + 4, kind, answer)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


@contextlib.asynccontextmanager
async def name_server(
    answers: Mapping[str, list[list[str] | str]],
) -> AsyncIterator[tuple[str, NameServer]]:
    """Run a name server; gives its `address:port` and itself."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: NameServer(answers), local_addr=("127.0.0.1", 0)
    )
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}", protocol
    finally:
        transport.close()


def _question_name(data: bytes) -> tuple[str, int]:
    labels, position = [], 12
    while length := data[position]:
        labels.append(data[position + 1 : position + 1 + length].decode())
        position += 1 + length
    return ".".join(labels).lower(), position + 1


def _reply(query: bytes, end: int, kind: str, answer: list[str] | str) -> bytes | None:
    if answer == "silent":
        return None
    code = {"nxdomain": 3, "servfail": 2}.get(answer, 0) if isinstance(answer, str) else 0
    records = [] if isinstance(answer, str) else _records(answer, kind)
    flags = (0x8180 | code).to_bytes(2, "big")
    counts = b"\x00\x01" + len(records).to_bytes(2, "big") + b"\x00\x00\x00\x00"
    return query[:2] + flags + counts + query[12:end] + b"".join(records)


def _records(answer: list[str], kind: str) -> list[bytes]:
    """Return an alias, if there is one, and the addresses of one kind under its name."""
    owner = b"\xc0\x0c"  # the name of the question
    records = []
    for text in answer:
        if text.startswith("alias "):
            target = _encoded_name(text.removeprefix("alias "))
            records.append(_record(owner, 5, target))
            owner = target
            continue
        address = ip_address(text)
        address_kind, code = ("A", 1) if isinstance(address, IPv4Address) else ("AAAA", 28)
        if address_kind == kind:
            records.append(_record(owner, code, address.packed))
    return records


def _record(owner: bytes, code: int, data: bytes) -> bytes:
    head = owner + code.to_bytes(2, "big") + b"\x00\x01" + b"\x00\x00\x00\x00"
    return head + len(data).to_bytes(2, "big") + data


def _encoded_name(name: str) -> bytes:
    labels = (label.encode() for label in name.split("."))
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\x00"
