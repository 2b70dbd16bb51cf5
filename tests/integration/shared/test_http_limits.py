"""What no client may do to a server: heads without end, bytes without haste, all connections."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK
from shared.telemetry.metrics import new_registry
from tests.support.serving import Served, serving

_SECONDS = 30.0
_OK = b"HTTP/1.1 200 "
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def answer(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {len(await request.body())}")


async def careless(_request: Request) -> Response:
    return PlainTextResponse("the body was never read")


APP = Starlette(
    routes=[
        Route("/", answer, methods=["GET", "POST"]),
        Route("/careless", careless, methods=["POST"]),
        Route("/livez", answer),
    ]
)


@dataclass(frozen=True)
class Client:
    """A client that says exactly what it is told to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> bytes:
        """Return one answer with its body."""
        async with asyncio.timeout(_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head + await self.reader.readexactly(length)

    async def is_closed(self) -> bool:
        async with asyncio.timeout(_SECONDS):
            with suppress(ConnectionError):
                return await self.reader.read() == b""
            return True


@asynccontextmanager
async def connected(served: Served, first: bytes = b"") -> AsyncIterator[Client]:
    """Connect, and send `first` before the server, which runs in this thread, can know of it.

    So however long the process is held up, the server reads it before its time is up.
    """
    connection = socket.create_connection((LOOPBACK, served.port))
    connection.sendall(first)
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def assert_problem(response: bytes, status: int) -> None:
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert json.loads(body)["status"] == status
    assert b"Traceback" not in body


async def test_ten_thousand_bytes_of_headers_are_taken_and_twenty_thousand_are_not() -> None:
    async with serving(APP) as served:
        async with connected(served) as client:
            await client.send(GET + b"X-Long: " + b"a" * 10_000 + b"\r\n\r\n")
            assert (await client.answer()).startswith(_OK)
            await client.send(GET + b"\r\n")
            assert (await client.answer()).startswith(_OK)
        async with connected(served) as client:
            await client.send(GET + b"X-Long: " + b"a" * 20_000 + b"\r\n\r\n")
            assert_problem(await client.answer(), 431)
            assert await client.is_closed()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (GET + b"X: y\r\n" * 200 + b"\r\n", 431),
        (GET + b"X: y\r\n" * 10_000, 431),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"no http at all\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (GET + b"Bad\x00Name: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (GET + b"Host: y\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: x\r\nhost: x\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (GET + b"Content-Length: -1\r\n\r\n", 400),
        (GET + b"Content-Length: 0x10\r\n\r\n", 400),
    ],
)
async def test_a_head_that_is_too_much_or_ambiguous_is_refused(head: bytes, status: int) -> None:
    async with serving(APP) as served, connected(served) as client:
        await client.send(head)
        assert_problem(await client.answer(), status)
        assert await client.is_closed()


async def test_a_refusal_is_never_taken_for_the_answer_to_the_request_before() -> None:
    async with serving(APP) as served, connected(served) as client:
        begun = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        await client.send(begun + b"GET / HTTP/1.1\r\n\r\n")
        assert await client.is_closed()


async def test_clients_of_the_first_version_need_no_host() -> None:
    async with serving(APP) as served, connected(served) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.answer()).startswith(_OK)
        assert await client.is_closed()


async def test_a_line_without_an_end_is_not_kept() -> None:
    async with serving(APP) as served:
        assert_problem(await asyncio.to_thread(answer_to_an_endless_line, served.port), 431)


def answer_to_an_endless_line(port: int) -> bytes:
    """Send far more than a head may have; return what comes back.

    With a plain socket: a stream of asyncio's forgets the answer when it can't write any more.
    """
    answer = b""
    with socket.create_connection((LOOPBACK, port), timeout=_SECONDS) as client:
        with suppress(ConnectionError):
            client.sendall(GET + b"X-Endless: ")
            for _ in range(100):
                client.sendall(b"a" * 10_000)
        with suppress(ConnectionError):
            while part := client.recv(65_536):
                answer += part
    return answer


async def test_a_client_that_sends_its_head_a_byte_at_a_time_is_cut_off() -> None:
    async with serving(APP, head_timeout=0.3) as served, connected(served, GET[:1]) as client:

        async def drip() -> None:
            for byte in GET[1:] + GET * 1000:
                await asyncio.sleep(0.05)
                await client.send(bytes([byte]))

        dripping = asyncio.create_task(drip())
        try:
            assert_problem(await client.answer(), 408)
            assert await client.is_closed()
        finally:
            dripping.cancel()


async def test_a_client_that_says_nothing_is_cut_off() -> None:
    async with serving(APP, head_timeout=0.2) as served, connected(served) as client:
        assert await client.is_closed()


async def test_the_second_head_of_a_connection_has_its_limit_too() -> None:
    async with serving(APP, head_timeout=0.3) as served, connected(served, GET + b"\r\n") as client:
        assert (await client.answer()).startswith(_OK)
        await client.send(b"GET / HT")
        assert_problem(await client.answer(), 408)


async def test_hundreds_of_slow_clients_dont_keep_others_waiting() -> None:
    async with serving(APP, head_timeout=2) as served, AsyncExitStack() as slow:
        for _ in range(300):
            client = await slow.enter_async_context(connected(served))
            await client.send(b"GET / HTTP/1.1\r\nX-a: b\r\n")
        async with connected(served, GET + b"\r\n") as client:
            assert (await client.answer()).startswith(_OK)

        async def are_gone() -> bool:
            return len(served.server.server_state.connections) <= 1

        await poll_until(are_gone, seconds=_SECONDS)


async def test_a_body_that_goes_on_after_the_answer_is_not_waited_for() -> None:
    async with serving(APP) as served, connected(served) as client:
        await client.send(b"POST /careless HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nab")
        assert (await client.answer()).startswith(_OK)
        assert await client.is_closed()


async def test_past_the_limit_of_connections_only_probes_are_answered() -> None:
    patient = {"max_connections": 5, "head_timeout": 10 * _SECONDS}
    async with serving(APP, **patient) as served, AsyncExitStack() as others:
        for _ in range(5):
            client = await others.enter_async_context(connected(served))
            await client.send(GET + b"\r\n")
            assert (await client.answer()).startswith(_OK)
        async with connected(served) as client:
            await client.send(GET + b"\r\n")
            refused = await client.answer()
            assert_problem(refused, 503)
            assert b"retry-after: 1" in refused
        async with connected(served) as client:
            await client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.answer()).startswith(_OK)
        for _ in range(100):
            crowd = await others.enter_async_context(connected(served))
            await crowd.send(b"G")

        async def is_the_crowd_refused() -> bool:
            # A connection that is refused counts until the server hears that it is closed.
            return len(served.server.server_state.connections) <= 5 + 64

        await poll_until(is_the_crowd_refused, seconds=_SECONDS)
        await others.aclose()

        async def is_served_again() -> bool:
            async with connected(served) as client:
                await client.send(GET + b"\r\n")
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    return (await client.answer()).startswith(_OK)
                return False

        await poll_until(is_served_again, seconds=_SECONDS)


async def test_requests_in_a_row_and_in_one_packet_are_all_answered() -> None:
    async with serving(APP) as served, connected(served) as client:
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        await client.send((GET + b"\r\n" + post) * 20)
        for _ in range(20):
            assert (await client.answer()).endswith(b"GET 0")
            assert (await client.answer()).endswith(b"POST 3")


async def test_what_is_refused_is_counted_by_its_reason() -> None:
    registry = new_registry()

    def counted() -> dict[str, float]:
        metric = "report_jobs_http_refusals_total"
        reasons = ("bad_request", "request_timeout", "body_unfinished")
        return {why: registry.get_sample_value(metric, {"reason": why}) or 0 for why in reasons}

    before = counted()
    async with serving(APP, head_timeout=0.3) as served:
        for said in (
            b"no http at all\r\n\r\n",
            b"GET / HT",
            b"POST /careless HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nab",
        ):
            async with connected(served, said) as client:
                await client.answer()
                assert await client.is_closed()
    assert counted() == {reason: count + 1 for reason, count in before.items()}
