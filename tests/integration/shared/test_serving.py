"""The HTTP server of every service, over real connections."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from local_stack.polling import poll_until
from shared.serving import STOPPING, cut_off, has_come_whole
from tests.support.serving import serving


class Endless:
    """Answers until it is told that the server stops."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await self.stopping.wait()
        await send({"type": "http.response.body", "body": b"last"})


async def test_an_endless_answer_hears_of_the_shutdown_and_ends_well() -> None:
    endless = Endless()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, object]]:
        yield {STOPPING: endless.stopping.set}

    app = Starlette(routes=[Route("/", endless)], lifespan=lifespan)
    async with (
        serving(app, shutdown_grace=60) as served,
        httpx.AsyncClient(base_url=served.url, timeout=60) as client,
        client.stream("GET", "/") as response,
    ):
        parts = response.aiter_raw()
        assert await anext(parts) == b"first"
        served.stop()
        assert b"".join([part async for part in parts]) == b"last"


async def test_a_client_that_reads_nothing_is_cut_off_with_what_is_still_to_be_sent() -> None:
    was_cut = asyncio.Event()

    async def flood(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                message = {"type": "http.response.body", "body": bytes(65536), "more_body": True}
                await asyncio.wait_for(send(message), 0.2)
        except TimeoutError:
            cut_off(scope)
            was_cut.set()

    async with serving(Starlette(routes=[Mount("/", flood)])) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            await was_cut.wait()

        async def is_closed() -> bool:
            return not served.server.server_state.connections

        await poll_until(is_closed, seconds=30)
        writer.close()


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"


@pytest.mark.parametrize(
    ("sent", "is_whole"),
    [
        (HEAD + b"\r\nbody", True),
        (HEAD + b"\r\nbod", False),
        (HEAD + b"\r\n", False),
        (HEAD + b"Expect: 100-continue\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD + b"\r\nbody", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD, False),
    ],
)
async def test_it_is_known_whether_a_request_has_come_whole(sent: bytes, *, is_whole: bool) -> None:
    found: list[bool] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(has_come_whole(scope))
        await answer(scope, receive, send)

    async with serving(Starlette(routes=[Mount("/", look)])) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(sent)
        async with asyncio.timeout(30):
            await reader.readuntil(b" 204 ")
        writer.close()
    assert found[0] is is_whole


async def test_a_closed_connection_is_gone_without_a_garbage_collection() -> None:
    async with serving(Starlette(routes=[Mount("/", answer)])) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            await reader.readuntil(b" 204 ")
        connections = [weakref.ref(one) for one in served.server.server_state.connections]

        async def is_gone() -> bool:
            return all(connection() is None for connection in connections)

        gc.disable()
        try:
            writer.close()
            await poll_until(is_gone, seconds=30)
        finally:
            gc.enable()
    assert len(connections) == 1


async def test_a_server_of_another_kind_tells_nothing_of_what_has_come() -> None:
    assert not has_come_whole({"type": "http"})
