"""The client against real servers on loopback: what it sends, and how every mischief ends."""

import asyncio
import contextlib
import gzip
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from notifier.client import ClientLimits, WebhookClient
from notifier.domain import AttemptResult, ErrorClass
from notifier.resolver import GuardedResolver
from shared.callback import CallbackPolicy
from tests.unit.notifier.certificates import CertificateAuthority
from tests.unit.notifier.servers import (
    Behaviour,
    answering,
    answering_then_waiting,
    name_server,
    raw_server,
    repeating,
    reset,
    silent_server,
)

LOCAL = CallbackPolicy((ip_network("127.0.0.0/8"), ip_network("::1/128")))
STRICT = CallbackPolicy()
QUICK = ClientLimits(dns=0.4, connect=0.5, total=0.6, body=0.2)
PATIENT = ClientLimits(dns=60, connect=60, total=60)
"""Nothing is asked for twice, and nothing given up, because the machine is busy."""
IMPATIENT_WITH_NAMES = replace(PATIENT, dns=0.4)
IMPATIENT_WITH_BODIES = replace(PATIENT, body=0.2)
FAR_BEYOND_ANY_LIMIT = 150
"""What hangs fails here."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
HEADERS = {"webhook-id": "msg_1", "content-type": "application/json"}


@contextlib.asynccontextmanager
async def a_client(
    policy: CallbackPolicy = LOCAL,
    limits: ClientLimits = PATIENT,
    nameserver: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[WebhookClient]:
    nameservers = [nameserver] if nameserver else None
    resolver = GuardedResolver(policy, timeout=limits.dns, nameservers=nameservers)
    client = WebhookClient(policy, resolver, tls or ssl.create_default_context(), limits)
    try:
        yield client
    finally:
        await client.close()
        await resolver.close()


async def post(client: WebhookClient, url: str, body: bytes = b'{"a": 1}') -> AttemptResult:
    async with asyncio.timeout(FAR_BEYOND_ANY_LIMIT):
        return await client.post(url, HEADERS, body)


async def result_of(behaviour: Behaviour, limits: ClientLimits = PATIENT) -> AttemptResult:
    async with raw_server(behaviour) as server, a_client(limits=limits) as client:
        return await post(client, server.url())


async def test_request_arrives_byte_for_byte() -> None:
    async with raw_server(answering(OK)) as server, a_client() as client:
        result = await post(client, server.url("/a%2Fb/../c//d?x=%20+&d[]=1&x=%E2%82%AC"))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert (result.error, result.status) == (None, 200)
    assert head.startswith(b"POST /a%2Fb/../c//d?x=%20+&d[]=1&x=%E2%82%AC HTTP/1.1\r\n")
    assert body == b'{"a": 1}'
    lines = {line.split(b":")[0].lower(): line for line in head.split(b"\r\n")[1:]}
    assert lines[b"accept-encoding"].lower() == b"accept-encoding: identity"
    assert lines[b"webhook-id"] == b"webhook-id: msg_1"
    assert b"cookie" not in lines
    assert b"authorization" not in lines


async def test_url_without_a_path_is_sent_as_the_root() -> None:
    async with raw_server(answering(OK)) as server, a_client() as client:
        result = await post(client, server.url("?a=@b"))
    assert result.error is None
    assert server.requests[0].startswith(b"POST /?a=@b HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "response",
    [
        OK,
        NO_CONTENT,
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ntruncated",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\ntruncated",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x00\xff\xfe\x00",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nX-Bytes: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n\xff\xff",
    ],
)
async def test_2xx_head_is_a_success_whatever_follows(response: bytes) -> None:
    result = await result_of(answering(response))
    assert (result.error, result.status is not None) == (None, True)


@pytest.mark.parametrize(
    "behaviour",
    [
        answering_then_waiting(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        repeating(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"x", pause=0.02),
        repeating(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        repeating(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
    ],
    ids=["body never comes", "body drips", "endless chunks", "endless body"],
)
async def test_body_without_end_holds_nobody_up(behaviour: Behaviour) -> None:
    result = await result_of(behaviour, IMPATIENT_WITH_BODIES)
    assert (result.error, result.status) == (None, 200)


async def test_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\x00" * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert (await result_of(answering(head + bomb))).error is None


@pytest.mark.parametrize("status", [300, 301, 304, 400, 404, 410, 429, 500, 503, 599, 999])
async def test_status_other_than_2xx_is_a_failure(status: int) -> None:
    result = await result_of(answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert (result.error, result.status) == (ErrorClass.STATUS, status)


@pytest.mark.parametrize("status", ["099", "99", "2", "20", "2000"])
async def test_status_without_three_digits_is_a_failure(status: str) -> None:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()
    result = await result_of(answering(head))
    assert result.error in {ErrorClass.STATUS, ErrorClass.PROTOCOL}


async def test_switching_protocols_is_a_failure() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes"
    result = await result_of(answering(head), IMPATIENT_WITH_BODIES)
    assert (result.error, result.status) == (ErrorClass.STATUS, 101)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(status: int) -> None:
    async with raw_server(answering(OK)) as target, a_client() as client:
        head = b"HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
        async with raw_server(answering(head % (status, target.url().encode()))) as server:
            result = await post(client, server.url())
    assert (result.error, result.status) == (ErrorClass.STATUS, status)
    assert target.requests == []


async def test_retry_after_is_handed_on_as_it_came() -> None:
    head = b"HTTP/1.1 503 X\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n"
    assert (await result_of(answering(head))).retry_after == "soon"


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail ESMTP\r\n",
        b"HTTP/1.1 2000 X\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"\x00\x01\x02\x03" * 10,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk",
        NO_CONTENT + b"a body that may not be here",
    ],
)
async def test_what_is_not_http_within_the_limits_is_a_protocol_failure(response: bytes) -> None:
    result = await result_of(answering_then_waiting(response))
    assert result.error is ErrorClass.PROTOCOL


@pytest.mark.parametrize(
    "behaviour",
    [
        answering_then_waiting(),
        answering_then_waiting(b"HTTP/1.1 200 OK\r\nContent-Le"),
        repeating(b"HTTP/1.1 200 OK\r\nX: ", b"a", pause=0.02),
        repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        repeating(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.02),
    ],
    ids=["silence", "half a head", "head drips", "1xx flood", "1xx drips"],
)
async def test_head_that_takes_too_long_is_a_timeout(behaviour: Behaviour) -> None:
    assert (await result_of(behaviour, QUICK)).error is ErrorClass.TIMEOUT


@pytest.mark.parametrize(
    "behaviour",
    [reset, answering(), answering(b"HTTP/1.1 200 OK\r\nContent-Le")],
    ids=["reset", "closed", "closed in the head"],
)
async def test_connection_lost_before_the_head_is_a_reset(behaviour: Behaviour) -> None:
    assert (await result_of(behaviour)).error is ErrorClass.RESET


async def test_server_that_never_reads_is_a_timeout() -> None:
    async def stall(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's can be read
        await asyncio.Event().wait()

    async with silent_server(stall) as server, a_client(limits=QUICK) as client:
        result = await post(client, server.url(), body=b"x" * 900_000)
    assert result.error is ErrorClass.TIMEOUT


async def test_closed_port_is_a_connect_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with a_client() as client:
            result = await post(client, f"http://127.0.0.1:{port}/")
    assert (result.error, result.detail) == (ErrorClass.CONNECT, "Connection refused")


async def test_backlog_that_is_full_is_a_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)  # noqa: FBT003 - the parameter has no name
            each.connect_ex(address)
        async with a_client(limits=QUICK) as client:
            result = await post(client, f"http://127.0.0.1:{address[1]}/")
        for each in waiting:
            each.close()
    assert result.error is ErrorClass.TIMEOUT


async def test_cookie_of_one_receiver_is_never_sent() -> None:
    response = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(answering(response)) as server, a_client() as client:
        for _ in range(2):
            await post(client, server.url())
    assert len(server.requests) == 2
    assert not any(b"cookie" in request.lower() for request in server.requests)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_proxy_of_the_environment_is_ignored(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_server(answering(OK)) as server, raw_server(answering(OK)) as proxy:
        monkeypatch.setenv(variable, proxy.url(""))
        async with a_client() as client:
            assert (await post(client, server.url())).error is None
    assert (len(server.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
async def test_strict_policy_never_calls_loopback(host: str) -> None:
    async with raw_server(answering(OK)) as server, a_client(STRICT) as client:
        result = await post(client, f"http://{host}:{server.port}/")
    assert result.error is ErrorClass.REFUSED_ADDRESS
    assert server.requests == []


async def test_socket_is_guarded_even_where_no_url_was_judged() -> None:
    async with raw_server(answering(OK)) as server, a_client(STRICT) as client:
        with pytest.raises(Exception, match=r"127\.0\.0\.1 is loopback"):
            await client._session.post(server.url())
    assert server.requests == []


async def test_url_that_is_no_longer_admitted_is_refused_without_its_query() -> None:
    async with a_client() as client:
        result = await post(client, "http://user@x.com/?token=secret")
    assert result.error is ErrorClass.REFUSED_ADDRESS
    assert "secret" not in result.detail


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["alias other.test", "127.0.0.1"]])
async def test_name_is_resolved_and_called(answer: list[str]) -> None:
    async with (
        name_server({"hook.test": [answer]}) as (nameserver, _),
        raw_server(answering(OK)) as server,
        a_client(nameserver=nameserver) as client,
    ):
        result = await post(client, f"http://hook.test:{server.port}/")
    assert result.error is None
    assert b"host: hook.test:%d" % server.port in server.requests[0].lower()


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1", "10.0.0.1"],
        ["10.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "::ffff:10.0.0.1"],
        ["127.0.0.1", "fd00:ec2::254"],
        ["169.254.169.254"],
        ["64:ff9b::a00:1"],
        ["::ffff:10.0.0.1"],
        ["alias intranet.test", "10.0.0.1"],
        ["alias intranet.test", "127.0.0.1", "10.0.0.1"],
    ],
)
async def test_name_with_any_denied_address_is_refused(addresses: list[str]) -> None:
    async with (
        name_server({"mixed.test": [addresses]}) as (nameserver, _),
        raw_server(answering(OK)) as server,
        a_client(nameserver=nameserver) as client,
    ):
        result = await post(client, f"http://mixed.test:{server.port}/")
    assert result.error is ErrorClass.REFUSED_ADDRESS
    assert server.requests == []


async def test_address_is_asked_for_once_and_the_judged_one_is_called() -> None:
    rebinding: list[list[str] | str] = [["127.0.0.1"], ["10.0.0.1"]]
    async with (
        name_server({"rebind.test": rebinding}) as (nameserver, names),
        raw_server(answering(OK)) as server,
        a_client(nameserver=nameserver) as client,
    ):
        first = await post(client, f"http://rebind.test:{server.port}/")
        asked = names.queries.count(("rebind.test", "A"))
        second = await post(client, f"http://rebind.test:{server.port}/")
    assert (first.error, asked) == (None, 1)
    assert second.error is ErrorClass.REFUSED_ADDRESS
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", ["silent", "servfail", "nxdomain", []])
async def test_name_without_an_address_is_a_dns_failure(answer: list[str] | str) -> None:
    async with (
        name_server({"x.test": [answer]}) as (nameserver, _),
        a_client(limits=IMPATIENT_WITH_NAMES, nameserver=nameserver) as client,
    ):
        result = await post(client, "http://x.test/")
    assert result.error is ErrorClass.DNS


async def test_slow_names_do_not_hold_up_a_good_one() -> None:
    slow = [f"slow{number}.test" for number in range(50)]
    answers: dict[str, list[list[str] | str]] = {name: ["silent"] for name in slow}
    async with (
        name_server({**answers, "good.test": [["127.0.0.1"]]}) as (nameserver, _),
        raw_server(answering(OK)) as server,
        a_client(nameserver=nameserver) as client,
    ):
        held = [asyncio.create_task(post(client, f"http://{name}/")) for name in slow]
        result = await post(client, f"http://good.test:{server.port}/")
        assert not any(task.done() for task in held)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
    assert result.error is None


async def test_search_domains_are_not_tried() -> None:
    async with (
        name_server({}) as (nameserver, names),
        a_client(limits=QUICK, nameserver=nameserver) as client,
    ):
        await post(client, "http://redis/")
    assert {name for name, _ in names.queries} == {"redis"}


async def test_trusted_certificate_that_fits_is_accepted(authority: CertificateAuthority) -> None:
    async with (
        name_server({"hook.test": [["127.0.0.1"]]}) as (nameserver, _),
        raw_server(answering(OK), authority.server("hook.test")) as server,
        a_client(nameserver=nameserver, tls=authority.client()) as client,
    ):
        result = await post(client, f"https://hook.test:{server.port}/")
    assert result.error is None


@pytest.mark.parametrize("fault", ["expired", "wrong host", "untrusted", "no tls"])
async def test_certificate_that_does_not_convince_is_a_tls_failure(
    fault: str, authority: CertificateAuthority
) -> None:
    contexts = {
        "expired": authority.server("hook.test", expired=True),
        "wrong host": authority.server("other.test"),
        "untrusted": CertificateAuthority().server("hook.test"),
        "no tls": None,
    }
    async with (
        name_server({"hook.test": [["127.0.0.1"]]}) as (nameserver, _),
        silent_server(answering(b"HTTP/1.1 400 Bad\r\n\r\n"))
        if fault == "no tls"
        else raw_server(answering(OK), contexts[fault]) as server,
        a_client(nameserver=nameserver, tls=authority.client()) as client,
    ):
        result = await post(client, f"https://hook.test:{server.port}/")
    assert result.error is ErrorClass.TLS
    assert server.requests == []
