"""Downloads over real connections: resumed, slow, and broken off."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import httpx

from gateway.domain import ArtifactStoreUnavailableError, ByteRange, Job, JobStatus, StoredArtifact
from gateway.store import OpenArtifact
from local_stack.polling import poll_until
from shared.job_id import created_at
from tests.support.gateway import RETENTION, FakeGateway
from tests.support.serving import Served, connect_and_read_nothing, serving

CONTENT = hashlib.shake_128(b"report").digest(20_000_000)
PIECE = 1_000_000
PATIENCE = 60.0
"""How many seconds a client may leave unread what it is sent, where that isn't the question."""


class Store:
    """One file, read in pieces, which breaks off after `breaks_at` of them."""

    signs_urls = False

    def __init__(self, breaks_at: int | None = None) -> None:
        self.breaks_at = breaks_at
        self.pieces_read = 0
        self.is_open = False

    async def signed_url(self, path: str, method: str, longest: timedelta) -> str:
        raise NotImplementedError

    async def size(self, _path: str) -> int:
        return len(CONTENT)

    async def open(self, _path: str, part: ByteRange | None) -> OpenArtifact:
        start, end = (part.start, part.end) if part else (0, len(CONTENT))
        return OpenArtifact(len(CONTENT), self._chunks(start, end))

    async def _chunks(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        self.is_open = True
        try:
            for place in range(start, end, PIECE):
                if self.pieces_read == self.breaks_at:
                    raise ArtifactStoreUnavailableError("TimeoutError")
                self.pieces_read += 1
                yield CONTENT[place : min(place + PIECE, end)]
        finally:
            self.is_open = False


@dataclass(frozen=True, slots=True)
class Download:
    """A served link."""

    served: Served
    client: httpx.AsyncClient
    path: str


@asynccontextmanager
async def downloading(store: Store, client_timeout: float = PATIENCE) -> AsyncIterator[Download]:
    """Serve a completed job whose file is in `store`."""
    gateway = FakeGateway()
    app = gateway.application()
    services = app.state.services
    app.state.services = replace(
        services,
        downloads=replace(services.downloads, artifacts=store),
        client_timeout=client_timeout,
    )
    job_id = gateway.job_ids.new("default")
    digest = hashlib.sha256(CONTENT).hexdigest()
    artifact = StoredArtifact("path", "orders.csv", "text/csv", len(CONTENT), digest)
    job = Job.pending(job_id, created_at(job_id))
    gateway.read_model.add(replace(job, status=JobStatus.COMPLETED, artifact=artifact))
    link = gateway.links.url(job_id, gateway.clock.now + RETENTION)
    path = link.removeprefix("https://reports.example.com/v1")
    async with (
        serving(app) as served,
        httpx.AsyncClient(base_url=served.url, timeout=30) as client,
        asyncio.timeout(60),
    ):
        yield Download(served, client, path)


async def read_until_it_breaks(download: Download) -> tuple[str, bytes]:
    """Return a file's entity tag, and the bytes that came before the connection was cut off."""
    received = b""
    async with download.client.stream("GET", download.path) as response:
        try:
            async for piece in response.aiter_raw():
                received += piece
        except (httpx.RemoteProtocolError, httpx.ReadError):
            return response.headers["etag"], received
    raise AssertionError("the download ended as if it were complete")


async def test_a_download_that_breaks_off_is_seen_and_resumed_by_range() -> None:
    store = Store(breaks_at=3)
    async with downloading(store) as download:
        etag, received = await read_until_it_breaks(download)
        assert len(received) < len(CONTENT)
        store.breaks_at = None
        headers = {"range": f"bytes={len(received)}-", "if-range": etag}
        rest = await download.client.get(download.path, headers=headers)
    assert rest.status_code == 206
    assert received + rest.content == CONTENT
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert rest.headers["repr-digest"] == f"sha-256=:{digest}:"


async def test_a_client_that_reads_nothing_is_cut_off_and_costs_no_memory() -> None:
    store = Store()
    async with downloading(store, client_timeout=1.0) as download:
        writer = await connect_and_read_nothing(download.served.port)
        writer.write(f"GET {download.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        async def is_cut_off() -> bool:
            return store.pieces_read > 0 and not download.served.server.server_state.connections

        await poll_until(is_cut_off, seconds=30)
        writer.close()
    assert not store.is_open
    assert store.pieces_read < len(CONTENT) / PIECE  # what the kernel buffers, and no more


async def test_a_client_that_leaves_ends_the_reading_of_the_store() -> None:
    store = Store()
    async with downloading(store) as download:
        async with download.client.stream("GET", download.path) as response:
            await anext(response.aiter_raw(1))

        async def is_closed() -> bool:
            return not store.is_open

        await poll_until(is_closed, seconds=30)
    assert store.pieces_read < len(CONTENT) / PIECE
