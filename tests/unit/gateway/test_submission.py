"""`POST /generate-report`: what is taken, what is refused, and that then nothing is published."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.events import ReportRequested, decode
from shared.job_id import created_at
from tests.support.gateway import NOW, REQUEST, FakeGateway

JSON = {"content-type": "application/json"}


async def post(client: httpx.AsyncClient, body: str | bytes, **headers: str) -> httpx.Response:
    return await client.post("/generate-report", content=body, headers={**JSON, **headers})


def with_changes(**changes: Any) -> str:
    return json.dumps({**REQUEST, **changes})


async def test_a_request_becomes_a_job_to_poll(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    response = await client.post("/generate-report", json=REQUEST)
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/v1/report-jobs/{job['jobId']}"
    assert response.headers["retry-after"] == "1"
    assert response.headers["content-type"] == "application/json"
    assert gateway.job_ids.is_certified(job["jobId"], "default")
    assert job == {
        "jobId": job["jobId"],
        "status": "PENDING",
        "reportType": "ORDERS_SUMMARY",
        "format": "CSV",
        "createdAt": "2024-02-01T09:30:00.000000Z",
        "startedAt": None,
        "updatedAt": "2024-02-01T09:30:00.000000Z",
        "finishedAt": None,
        "expiresAt": "2024-02-08T09:30:00.000000Z",
        "downloadUrl": None,
        "rowCount": None,
        "byteCount": None,
        "errorCode": None,
        "errorMessage": None,
        "retryable": None,
        "run": 1,
        "progress": None,
        "cancelRequested": False,
        "webhook": None,
    }


async def test_the_event_holds_the_request_and_the_moment_of_the_id(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    response = await client.post(
        "/generate-report", json={**REQUEST, "unknown": 1}, headers={"traceparent": parent}
    )
    [message] = gateway.bus.published
    received = decode(message.headers, message.value)
    assert received is not None
    event = received.event
    assert isinstance(event, ReportRequested)
    assert event.job_id == response.json()["jobId"]
    assert (event.tenant, event.run, event.report_type) == ("default", 1, "ORDERS_SUMMARY")
    assert event.created_at == created_at(gateway.job_ids.new("default")) == NOW
    assert event.request.model_dump(by_alias=True) == {**REQUEST, "parameters": {}}
    assert received.traceparent == parent
    assert message.headers["ce_source"] == "/report-jobs/gateway"


@pytest.mark.parametrize("header", ["", "junk", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_a_traceparent_that_makes_no_sense_is_replaced(
    client: httpx.AsyncClient, gateway: FakeGateway, header: str
) -> None:
    await client.post("/generate-report", json=REQUEST, headers={"traceparent": header})
    assert gateway.bus.published[0].headers["traceparent"] != header


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
async def test_json_is_taken_however_its_type_is_written(
    client: httpx.AsyncClient, content_type: str
) -> None:
    response = await post(client, json.dumps(REQUEST), **{"content-type": content_type})
    assert response.status_code == 202


MALFORMED = {
    "nothing": "",
    "half an object": '{"reportType":',
    "trailing comma": '{"reportType": "X",}',
    "two documents": "{}{}",
    "duplicate name": '{"format": "CSV", "format": "PDF"}',
    "duplicate name deep inside what is ignored": '{"x": [{"a": 1, "a": 2}]}',
    "NaN": '{"x": NaN}',
    "infinity": '{"x": -Infinity}',
    "a number of thousands of digits": '{"x": ' + "9" * 5000 + "}",
    "nesting without end": "[" * 60_000,
    "UTF-16": json.dumps(REQUEST).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "bad UTF-8": b'{"reportType": "\xff"}',
    "control character": '{"reportType": "a\nb"}',
    "NUL": b"\x00",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_json_of_one_meaning_is_400_and_not_published(
    client: httpx.AsyncClient, gateway: FakeGateway, body: str | bytes
) -> None:
    response = await post(client, body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "urn:report-jobs:problem:malformed-json"
    assert problem["instance"] == "/generate-report"
    assert gateway.bus.published == []


async def test_what_is_too_long_a_number_is_said_in_words_of_our_own(
    client: httpx.AsyncClient,
) -> None:
    response = await post(client, '{"x": ' + "9" * 5000 + "}")
    assert response.json()["detail"] == "It has a number of too many digits."


REFUSED: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "an array": ("[]", [("", "WRONG_TYPE")]),
    "a string": ('"x"', [("", "WRONG_TYPE")]),
    "null": ("null", [("", "WRONG_TYPE")]),
    "nothing in it": ("{}", [("/reportType", "REQUIRED"), ("/dateRange", "REQUIRED")]),
    "unknown type": (with_changes(reportType="NOPE"), [("/reportType", "UNKNOWN_REPORT_TYPE")]),
    "header injection in the type": (
        with_changes(reportType="A\r\nSet-Cookie: x"),
        [("/reportType", "UNKNOWN_REPORT_TYPE")],
    ),
    "lone surrogate in the type": (
        json.dumps({**REQUEST, "reportType": "\ud800"}),
        [("/reportType", "INVALID_VALUE")],
    ),
    "type is a number": (with_changes(reportType=7), [("/reportType", "WRONG_TYPE")]),
    "type is empty": (with_changes(reportType=""), [("/reportType", "TOO_SHORT")]),
    "type is long": (with_changes(reportType="A" * 101), [("/reportType", "TOO_LONG")]),
    "format null": (with_changes(format=None), [("/format", "NOT_ALLOWED")]),
    "format in lower case": (with_changes(format="csv"), [("/format", "NOT_ALLOWED")]),
    "dates reversed": (
        with_changes(dateRange={"fromDate": "2024-02-01", "toDate": "2024-01-31"}),
        [("/dateRange/toDate", "DATES_REVERSED")],
    ),
    "span over the limit": (
        with_changes(dateRange={"fromDate": "2024-01-01", "toDate": "2025-01-01"}),
        [("/dateRange/toDate", "SPAN_TOO_LONG")],
    ),
    "no such day": (
        with_changes(dateRange={"fromDate": "2024-02-30", "toDate": "2024-03-01"}),
        [("/dateRange/fromDate", "INVALID_VALUE")],
    ),
    "a date with a time": (
        with_changes(dateRange={"fromDate": "2024-01-01T00:00:00Z", "toDate": "2024-03-01"}),
        [("/dateRange/fromDate", "INVALID_VALUE")],
    ),
    "dates are a string": (with_changes(dateRange="2024"), [("/dateRange", "WRONG_TYPE")]),
    "a date is missing": (
        with_changes(dateRange={"fromDate": "2024-01-01"}),
        [("/dateRange/toDate", "REQUIRED")],
    ),
    "callback not http": (
        with_changes(callbackUrl="ftp://client.example.com/"),
        [("/callbackUrl", "CALLBACK_URL_MALFORMED")],
    ),
    "callback with userinfo": (
        with_changes(callbackUrl="https://user:secret@client.example.com/"),
        [("/callbackUrl", "CALLBACK_URL_MALFORMED")],
    ),
    "callback to loopback": (
        with_changes(callbackUrl="http://127.0.0.1/"),
        [("/callbackUrl", "CALLBACK_URL_FORBIDDEN")],
    ),
    "callback to metadata": (
        with_changes(callbackUrl="http://169.254.169.254/latest"),
        [("/callbackUrl", "CALLBACK_URL_FORBIDDEN")],
    ),
    "callback to an address in disguise": (
        with_changes(callbackUrl="http://[::ffff:10.0.0.1]/"),
        [("/callbackUrl", "CALLBACK_URL_FORBIDDEN")],
    ),
    "header injection in the callback": (
        with_changes(callbackUrl="https://client.example.com/\r\nX: y"),
        [("/callbackUrl", "CALLBACK_URL_MALFORMED")],
    ),
    "callback is a number": (with_changes(callbackUrl=1), [("/callbackUrl", "WRONG_TYPE")]),
    "unknown parameter": (
        with_changes(parameters={"a/b": 1}),
        [("/parameters/a~1b", "PARAMETER_UNKNOWN")],
    ),
    "parameters null": (with_changes(parameters=None), [("/parameters", "WRONG_TYPE")]),
    "parameters nested deeply": (
        with_changes(parameters={"a": [[[[[[[[1]]]]]]]]}),
        [("/parameters", "INVALID_VALUE")],
    ),
    "NUL in a parameter": (
        with_changes(reportType="ORDERS_DETAIL", parameters={"status": "a\x00"}),
        [("/parameters", "INVALID_VALUE")],
    ),
    "a number beyond all bounds": (
        with_changes(parameters={"status": "HUGE"}).replace('"HUGE"', "1e999"),
        [("/parameters", "INVALID_VALUE")],
    ),
    "several things at once": (
        with_changes(reportType="NOPE", callbackUrl="http://10.0.0.1/"),
        [("/reportType", "UNKNOWN_REPORT_TYPE"), ("/callbackUrl", "CALLBACK_URL_FORBIDDEN")],
    ),
}


@pytest.mark.parametrize(("body", "errors"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_request_that_cant_become_a_job_is_422_field_by_field_and_not_published(
    client: httpx.AsyncClient, gateway: FakeGateway, body: str, errors: list[tuple[str, str]]
) -> None:
    response = await post(client, body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "urn:report-jobs:problem:invalid-request"
    assert [(error["field"], error["code"]) for error in problem["errors"]] == errors
    assert all(error["message"] for error in problem["errors"])
    assert gateway.bus.published == []


async def test_a_secret_in_a_refused_callback_url_isnt_repeated(client: httpx.AsyncClient) -> None:
    response = await post(client, with_changes(callbackUrl="https://u:hunter2@example.com/"))
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx",
     "application/json; charset=utf-16", "multipart/form-data; boundary=x", "json"],
)  # fmt: skip
async def test_another_media_type_is_415(
    client: httpx.AsyncClient, gateway: FakeGateway, content_type: str
) -> None:
    response = await post(client, json.dumps(REQUEST), **{"content-type": content_type})
    assert response.status_code == 415
    assert response.json()["type"] == "urn:report-jobs:problem:unsupported-media-type"
    assert response.headers["accept-post"] == "application/json"
    assert gateway.bus.published == []


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "", "x"])
async def test_a_coded_body_is_415(
    client: httpx.AsyncClient, gateway: FakeGateway, coding: str
) -> None:
    body = gzip.compress(json.dumps(REQUEST).encode())
    response = await post(client, body, **{"content-encoding": coding})
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "identity"
    assert (await post(client, json.dumps(REQUEST), **{"content-encoding": coding})).is_error
    assert gateway.bus.published == []


async def test_a_body_that_is_said_to_be_uncoded_is_taken(client: httpx.AsyncClient) -> None:
    response = await post(client, json.dumps(REQUEST), **{"content-encoding": "Identity"})
    assert response.status_code == 202


async def test_a_byte_order_mark_is_called_one(client: httpx.AsyncClient) -> None:
    response = await post(client, b"\xef\xbb\xbf" + json.dumps(REQUEST).encode())
    assert response.status_code == 400
    assert "byte order mark" in response.json()["detail"]


async def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_413(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    largest = json.dumps(REQUEST).ljust(64 * 1024)
    assert (await post(client, largest)).status_code == 202
    response = await post(client, largest + " ")
    assert response.status_code == 413
    assert response.json()["type"] == "urn:report-jobs:problem:body-too-large"
    assert response.headers["connection"] == "close"
    assert len(gateway.bus.published) == 1


async def test_an_endless_body_without_a_length_is_cut_off(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1024
            yield b" " * 1024

    response = await client.post("/generate-report", content=endless(), headers=JSON)
    assert response.status_code == 413
    assert sent <= 66 * 1024
    assert gateway.bus.published == []


@pytest.mark.parametrize("length", ["65537", "9" * 400])
async def test_a_declared_length_over_the_limit_is_refused_unread(
    client: httpx.AsyncClient, length: str
) -> None:
    response = await post(client, "{}", **{"content-length": length})
    assert response.status_code == 413


async def test_a_body_that_doesnt_come_is_408(gateway: FakeGateway) -> None:
    sent: list[Any] = []

    async def silence() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/generate-report", "query_string": b"",
        "headers": [(b"content-type", b"application/json")], "root_path": "",
    }  # fmt: skip
    await gateway.application()(scope, silence, send)
    assert sent[0]["status"] == 408
    assert gateway.bus.published == []


async def test_a_broker_that_is_away_is_503_with_a_time_to_retry(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    gateway.bus.is_away = True
    response = await client.post("/generate-report", json=REQUEST)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["type"] == "urn:report-jobs:problem:temporarily-unavailable"
    assert gateway.registry.get_sample_value("report_jobs_gateway_publish_failures_total") == 1

    gateway.bus.is_away = False
    assert (await client.post("/generate-report", json=REQUEST)).status_code == 202
    assert gateway.registry.get_sample_value("report_jobs_gateway_published_total") == 1
