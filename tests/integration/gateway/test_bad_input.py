"""Hostile input to every route, over real connections: refused in words, and nothing published."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute

from gateway.domain import Job, JobStatus, StoredArtifact
from gateway.routes import ROUTES
from gateway.service import AccessTokens, CredentialAccess, IssuerKeys, TokenRules
from gateway.store import OpenIdProvider
from local_stack.ports import LOOPBACK
from shared.clock import utc_now
from tests.support.gateway import NOW, REQUEST, RETENTION, FakeGateway
from tests.support.issuer import AUDIENCE, new_issuer
from tests.support.serving import Served, serving

_SECONDS = 60.0
_PIECE: Final = 65_536
_VALID_BODY: Final = json.dumps(REQUEST).encode()
_FILE: Final = b"day,orders\n2024-01-01,3\n"

BAD_IDS: Final = [
    b"job_12345",
    b"%00",
    b"job_%00",
    b"..",
    b"%2e%2e",
    b"..%2f..%2fetc%2fpasswd",
    b"%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    b"..%5c..%5cwindows",
    b"%ff%fe",
    b"%ed%a0%80",  # a lone surrogate in UTF-8
    b"%F0%9F%92%A9",
    b"%25%30%30",
    b"job_" + b"0" * 40,
    b"job_" + b"v" * 40,
    b"job_" + b"V" * 40,
    b"job_" + b"0" * 4000,
    b"'%20OR%201=1--",
    b"%0d%0aSet-Cookie:%20x=y",
    b"%22%3E%3Cscript%3E",
    b"{jobId}",
    b"%7BjobId%7D",
    b"null",
    b"-1",
    b"9" * 400,
    b";a=b",
    b"%",
    b"%zz",
]
BAD_QUERIES: Final = [
    b"?",
    b"?&&&&",
    b"?=",
    b"?" + b"a" * 4000,
    b"?" + b"&".join(b"a%d=1" % number for number in range(700)),
    b"?pageSize=" + b"9" * 3000,
    b"?pageSize=1e400&pageSize=2",
    b"?pageSize=%00",
    b"?pageToken=%ff%ff",
    b"?pageToken=%00%0d%0a",
    b"?pageToken=" + b"A" * 199,
    b"?status=%ed%a0%80",
    b"?status=PENDING&status=RUNNING",
    b"?reportType=%00",
    b"?reportType='%3B%20DROP%20TABLE%20jobs",
    b"?createdAfter=99999-01-01T00:00:00Z",
    b"?createdAfter=0001-01-01T00:00:00%2B23:59",
    b"?createdBefore=9999-12-31T23:59:59-23:59",
    b"?createdAfter=2024-02-30T00:00:00Z",
    b"?createdAfter=%D9%A2%D9%A0%D9%A2%D9%A4",
    b"?exp=99999999999999999999&sig=" + b"A" * 60,
    b"?exp=-1&sig=%00",
    b"?exp=%D9%A1&sig=%D9%A1",
    b"?exp=1&exp=2&sig=a&sig=b",
    b"?%00=%00",
    b"?%ff=%ff",
]
BAD_HEADERS: Final = [
    b"Prefer: wait=" + b"9" * 500,
    b"Prefer: wait=-1, wait=NaN, \xff",
    b"If-None-Match: " + b'"a",' * 500,
    b"If-None-Match: \xff\xfe",
    b"If-Modified-Since: Fri, 99 Foo 99999 99:99:99 GMT",
    b"If-Modified-Since: \xff",
    b"If-Unmodified-Since: Thu, 01 Jan 0000 00:00:00 GMT",
    b"If-Unmodified-Since: Mon, 31 Dec 9999 23:59:60 -9999",
    b"If-Match: \xff",
    b'If-Match: "a", W/, ,,"',
    b"If-Range: \xff",
    b"If-Range: W/",
    b"If-Range: Thu, 99 Feb 2024 00:00:00 GMT\r\nRange: bytes=0-1",
    b"Range: bytes=-",
    b"Range: bytes=--1",
    b"Range: bytes=5-2",
    b"Range: bytes=-0",
    b"Range: bytes=\xd9\xa1-\xd9\xa2",
    b"Range: bytes=-" + b"9" * 5000,
    b"Range: bytes=" + b"0-0," * 500,
    b"Range: bytes=9" + b"9" * 500 + b"-",
    b"Range: lines=\xff",
    b"Last-Event-ID: " + b"9" * 500,
    b"Last-Event-ID: \xff\x80-1",
    b"Idempotency-Key: \xff\xfe",
    b'Idempotency-Key: "' + b"a" * 5000 + b'"',
    b'Idempotency-Key: "a',
    b"Idempotency-Key:",
    b"Traceparent: \xff",
    b"Traceparent: 00-" + b"f" * 500,
    b"Authorization: \xff\xfe",
    b"Authorization: Bearer " + b"." * 5000,
    b"Authorization: Bearer a\r\nAuthorization: Bearer b",
    b"Accept: \xff",
    b"Host: evil.example.com",
    b"X-Forwarded-Host: evil.example.com\r\nForwarded: host=evil.example.com",
    b"X-HTTP-Method-Override: DELETE",
    b"Expect: 200-nothing",
    b"Content-Type: application/json\r\nContent-Type: text/plain",
    b"Cookie: " + b"a=b; " * 1000,
]
DEEP: Final = b"[" * 30_000 + b"]" * 30_000
BAD_BODIES: Final = [
    b"",
    b"\x00",
    b"\xff\xfe{}",
    b"null",
    b"[]",
    DEEP,
    b'{"parameters":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}",
    b'{"reportType": "\\ud800", "dateRange": {}}',
    b'{"reportType": "\\u0000"}',
    b'{"reportType": "A", "reportType": "B"}',
    b'{"parameters": {"n": 1e999}}',
    b'{"parameters": {"n": ' + b"9" * 4000 + b"}}",
    b'{"parameters": {"n": 1e-999999999}}',
    b'{"dateRange": {"fromDate": "9999-12-31", "toDate": "0000-00-00"}}',
    b'{"__proto__": {"a": 1}, "constructor": 1}',
    _VALID_BODY[:-1],
    _VALID_BODY + _VALID_BODY,
    _VALID_BODY.replace(b"ORDERS_SUMMARY", b"ORDERS_SUMMARY\\u0000"),
    _VALID_BODY.replace(b"2024-01-31", b"\\u0662\\u0660\\u0662\\u0664-01-31"),
    _VALID_BODY.replace(b"https://client", b"https://client\\r\\nX: y"),
    json.dumps(REQUEST).encode("utf-16"),
    json.dumps(REQUEST).encode("utf-7") + b"+",
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--",
    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
]
CONTENT_TYPES: Final = [
    b"text/plain",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=x",
    b"application/xml",
    b"application/json; charset=utf-16",
    b"application/json, text/plain",
    b"\xff/\xff",
    b"",
]


@dataclass(frozen=True)
class Answer:
    status: int
    head: bytes
    body: bytes


@pytest.fixture(scope="module")
async def gateway() -> FakeGateway:
    """A gateway with one job, which is completed and has a file."""
    gateway = FakeGateway()
    file = StoredArtifact("1/1/a.csv", "orders.csv", "text/csv", len(_FILE), "0" * 64)
    gateway.artifacts.files[file.path] = [_FILE]
    job = Job(gateway.job_ids.new("default"), JobStatus.COMPLETED, NOW, NOW, artifact=file)
    gateway.read_model.add(job)
    return gateway


def targets(gateway: FakeGateway, method: str, path: str) -> list[bytes]:
    """Return a path with an id that is none and, to look at, with that of the job."""
    found = [path.replace("{jobId}", "job_" + "0" * 40)]
    if "{jobId}" in path and method in {"GET", "HEAD"}:
        [job] = gateway.read_model.jobs["default"]
        link = urlsplit(gateway.links.url(job.job_id, NOW + RETENTION))
        query = f"?{link.query}" if link.path.endswith(path.rpartition("/")[2]) else ""
        found.append(path.replace("{jobId}", job.job_id) + query)
    return [target.encode() for target in found]


@pytest.fixture(scope="module")
async def served(gateway: FakeGateway) -> AsyncIterator[Served]:
    async with serving(gateway.application()) as served:
        yield served


async def say(served: Served, request: bytes) -> Answer:
    """Send bytes, and read until the server has closed."""
    reader, writer = await asyncio.open_connection(LOOPBACK, served.port)
    raw = b""
    try:
        # It answers before it has read a body that it doesn't want, and closes: what is still on
        # its way then ends the connection with a reset.
        with suppress(ConnectionError):
            async with asyncio.timeout(_SECONDS):
                writer.write(request)
                while piece := await reader.read(_PIECE):
                    raw += piece
    finally:
        writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    return Answer(int(head.split(b" ")[1]), head.lower(), body)


def request(method: str, target: bytes, *headers: bytes, body: bytes | None = None) -> bytes:
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Connection: close", *headers]
    if not any(line.lower().startswith(b"host:") for line in headers):
        lines.append(b"Host: gateway")
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + (body or b"")


def assert_refused_in_words(answer: Answer, said: bytes, *, least: int = 200) -> None:
    assert least <= answer.status < 500, said[:200]
    assert b"traceback" not in answer.body.lower(), said[:200]
    assert b"set-cookie" not in answer.head, said[:200]
    assert b"evil.example.com" not in answer.head, said[:200]
    if answer.status >= 400:
        assert b"content-type: application/problem+json" in answer.head, said[:200]


def operations() -> Iterator[tuple[str, str]]:
    for route in ROUTES:
        assert isinstance(route, APIRoute)
        for method in sorted(route.methods or ()):
            yield method, route.path_format


OPERATIONS: Final = [pytest.param(*one, id=" ".join(one)) for one in operations()]


@pytest.mark.parametrize(
    ("method", "path"), [one for one in OPERATIONS if "{jobId}" in str(one.values[1])]
)
async def test_ids_that_are_none(
    served: Served, gateway: FakeGateway, method: str, path: str
) -> None:
    before, after = path.split("{jobId}")
    for job_id in BAD_IDS:
        said = request(method, before.encode() + job_id + after.encode())
        assert_refused_in_words(await say(served, said), said, least=400)
    assert gateway.bus.published == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_queries_that_make_no_sense(
    served: Served, gateway: FakeGateway, method: str, path: str
) -> None:
    for target, query in itertools.product(targets(gateway, method, path), BAD_QUERIES):
        said = request(method, target + (query.replace(b"?", b"&") if b"?" in target else query))
        assert_refused_in_words(await say(served, said), said)
    assert gateway.bus.published == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_headers_that_make_no_sense(
    served: Served, gateway: FakeGateway, method: str, path: str
) -> None:
    for target, header in itertools.product(targets(gateway, method, path), BAD_HEADERS):
        said = request(method, target, header)
        assert_refused_in_words(await say(served, said), said)
    assert gateway.bus.published == []


async def test_the_job_behind_those_headers_and_its_file_are_really_there(
    served: Served, gateway: FakeGateway
) -> None:
    for method, path in operations():
        for target in targets(gateway, method, path)[1:]:
            answer = await say(served, request(method, target))
            assert answer.status == 200, target


@pytest.mark.parametrize("value", [b"", b"\xff", b"*a", b'"', b'W/"a"', b'"a",' * 500])
async def test_a_condition_that_makes_no_sense_deletes_nothing(
    served: Served, gateway: FakeGateway, value: bytes
) -> None:
    [job] = gateway.read_model.jobs["default"]
    target = f"/report-jobs/{job.job_id}".encode()
    said = request("DELETE", target, b"If-Match: " + value)
    assert_refused_in_words(await say(served, said), said, least=400)
    assert gateway.bus.published == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_bodies_that_make_no_sense(
    served: Served, gateway: FakeGateway, method: str, path: str
) -> None:
    target = path.replace("{jobId}", "job_" + "0" * 40).encode()
    for body in BAD_BODIES:
        said = request(method, target, b"Content-Type: application/json", body=body)
        assert_refused_in_words(await say(served, said), said)
    for content_type in CONTENT_TYPES:
        said = request(method, target, b"Content-Type: " + content_type, body=_VALID_BODY)
        assert_refused_in_words(await say(served, said), said)
    assert gateway.bus.published == []


def token_part(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


BAD_TOKENS: Final = [
    *(
        token_part(header) + b".e30.e30"
        for header in (
            b"null",
            b"7",
            b'"alg"',
            b'["alg"]',
            b'{"alg":7}',
            b'{"alg":["RS256"]}',
            b'{"alg":"RS256","kid":{}}',
            b'{"alg":"RS256","crit":7}',
            b'{"alg":"RS256","alg":"none"}',
            b'{"alg":"\\ud800"}',
            b'{"alg":' * 1500,
            b"\xff\xfe",
        )
    ),
    b"." * 5000,
    b"\xff.\xff.\xff",
    b"a.b",
]


async def test_access_tokens_that_make_no_sense() -> None:
    issuer = new_issuer()
    keys = IssuerKeys(OpenIdProvider(issuer.url, timeout=60.0), refresh=300)
    rules = TokenRules(issuer.url, AUDIENCE, "tenant", leeway=30)
    access = CredentialAccess(None, AccessTokens(keys, rules, utc_now))
    async with issuer.served(), serving(FakeGateway(access=access).application()) as served:
        for token in BAD_TOKENS:
            said = request("GET", b"/report-types", b"Authorization: Bearer " + token)
            answer = await say(served, said)
            assert_refused_in_words(answer, said)
            assert answer.status == 401, said


SMUGGLED: Final = {
    "two lengths": b"Content-Length: 0\r\nContent-Length: 44\r\n",
    "a list of lengths": b"Content-Length: 0, 44\r\n",
    "length and chunks": b"Content-Length: 44\r\nTransfer-Encoding: chunked\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunks in disguise": b"Transfer-Encoding: xchunked\r\n",
    "chunks with a tab": b"Transfer-Encoding:\tchunked\x0b\r\n",
    "a space before the colon": b"Content-Length : 44\r\n",
    "a folded line": b"X: a\r\n Content-Length: 44\r\n",
    "a bare line feed": b"X: a\nContent-Length: 44\r\n\r",
    "a length with a sign": b"Content-Length: +44\r\n",
    "a NUL in a value": b"X: a\x00b\r\n",
}


@pytest.mark.parametrize("lines", SMUGGLED.values(), ids=SMUGGLED.keys())
async def test_a_request_within_a_request_is_never_run(
    served: Served, gateway: FakeGateway, lines: bytes
) -> None:
    inner = request("POST", b"/generate-report", b"Content-Type: application/json")
    said = (
        b"POST /report-jobs/job_x/cancel HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n0\r\n\r\n" + inner
    )
    answer = await say(served, said)
    assert 400 <= answer.status < 500
    assert answer.body.count(b"HTTP/1.1 2") == 0
    assert gateway.bus.published == []


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://evil.example.com/report-jobs HTTP/1.1",
        b"GET //evil.example.com/report-jobs HTTP/1.1",
        b"GET /../../etc/passwd HTTP/1.1",
        b"GET /report-jobs#fragment HTTP/1.1",
        b"GET report-jobs HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT evil.example.com:443 HTTP/1.1",
        b"TRACE /report-jobs HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"GET /report-jobs HTTP/0.9",
        b"GET\t/report-jobs\tHTTP/1.1",
        b"GET /report-jobs\x00 HTTP/1.1",
        b"GET /\xff\xfe HTTP/1.1",
        b"get /report-jobs HTTP/1.1",
        b"A" * 200 + b" / HTTP/1.1",
    ],
)
async def test_request_lines_that_are_odd(served: Served, line: bytes) -> None:
    said = line + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert_refused_in_words(await say(served, said), said)
