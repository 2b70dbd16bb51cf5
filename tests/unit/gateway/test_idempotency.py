"""`Idempotency-Key` and `validateOnly` over HTTP, with the table of keys in memory."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gateway.service import KeyedSubmissions
from shared.report_request import ReportRequest
from tests.support.gateway import NOW, REQUEST, RETENTION, FakeGateway

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'
UNKNOWN_TYPE = {**REQUEST, "reportType": "NOPE"}


async def post(
    client: httpx.AsyncClient, key: str | bytes = KEY, request: Any = REQUEST
) -> httpx.Response:
    headers = [("idempotency-key", key)] if isinstance(key, str) else [(b"idempotency-key", key)]
    return await client.post("/generate-report", json=request, headers=headers)


def assert_problem(response: httpx.Response, status: int, slug: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == f"urn:report-jobs:problem:{slug}"


async def test_a_replay_is_the_first_answer_again_and_says_so(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    first = await post(client)
    gateway.clock.now += timedelta(hours=1)
    again = await post(client)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len({message.key for message in gateway.bus.published}) == 1


async def test_an_acknowledged_request_is_not_published_again(gateway: FakeGateway) -> None:
    app = gateway.application()
    keyed: KeyedSubmissions = app.state.services.keyed_submissions
    request = ReportRequest.model_validate(REQUEST)
    await keyed.submit(request, "default", "k", "00-" + "1" * 32 + "-" + "1" * 16 + "-01")
    await keyed.drain()
    await keyed.submit(request, "default", "k", "00-" + "2" * 32 + "-" + "2" * 16 + "-01")
    assert len(gateway.bus.published) == 1


async def test_a_replay_publishes_the_same_bytes_where_the_first_was_not_acknowledged(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    gateway.bus.is_away = True
    assert_problem(await post(client), 503, "temporarily-unavailable")
    [row] = gateway.keys.rows.values()
    gateway.bus.is_away = False
    gateway.clock.now += timedelta(minutes=5)
    again = await post(client)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert gateway.bus.published == [row.message]
    assert again.json()["jobId"] == row.message.key.decode()


async def test_a_request_that_was_too_much_is_to_be_sent_again_as_it_was(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    gateway.bus.is_full = True
    refused = await post(client)
    assert_problem(refused, 503, "temporarily-unavailable")
    assert "send the same request again" in refused.json()["detail"]
    gateway.bus.is_full = False
    assert_problem(
        await post(client, request={**REQUEST, "format": "PDF"}), 422, "idempotency-key-reused"
    )
    assert (await post(client)).status_code == 202


async def test_another_request_with_the_same_key_is_refused(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    await post(client)
    other = {**REQUEST, "format": "PDF"}
    assert_problem(await post(client, request=other), 422, "idempotency-key-reused")
    assert len(gateway.bus.published) == 1


async def test_the_spelling_of_a_request_does_not_matter(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    request = {**REQUEST, "parameters": {}}
    answers = [
        await post(client, request=spelled)
        for spelled in (
            request,
            dict(reversed(request.items())),
            {name: value for name, value in REQUEST.items() if name != "format"},
            {**request, "unknown": 1},
            {**request, "validateOnly": False},
        )
    ]
    assert len({answer.content for answer in answers}) == 1


async def test_a_refused_request_leaves_its_key_free(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    assert (await post(client, request=UNKNOWN_TYPE)).status_code == 422
    assert gateway.keys.rows == {}
    assert (await post(client)).status_code == 202


async def test_a_job_accepted_once_is_answered_although_its_type_is_no_more(
    gateway: FakeGateway,
) -> None:
    """The catalogue may change between a request and its replay."""
    app = gateway.application()
    keyed: KeyedSubmissions = app.state.services.keyed_submissions
    trace = "00-" + "1" * 32 + "-" + "1" * 16 + "-01"
    request = ReportRequest.model_validate(REQUEST)
    first = await keyed.submit(request, "default", "k", trace)
    later = FakeGateway(clock=gateway.clock, bus=gateway.bus, keys=gateway.keys, report_types=())
    keyed = later.application().state.services.keyed_submissions
    again = await keyed.submit(request, "default", "k", trace)
    assert (again.event, again.is_replay) == (first.event, True)


async def test_keys_belong_to_their_tenant(gateway: FakeGateway) -> None:
    keyed: KeyedSubmissions = gateway.application().state.services.keyed_submissions
    request = ReportRequest.model_validate(REQUEST)
    trace = "00-" + "1" * 32 + "-" + "1" * 16 + "-01"
    mine = await keyed.submit(request, "mine", "k", trace)
    theirs = await keyed.submit(request, "theirs", "k", trace)
    assert mine.event.job_id != theirs.event.job_id
    assert not theirs.is_replay


async def test_concurrent_requests_with_one_key_are_one_job(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    answers = await asyncio.gather(*(post(client) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


async def test_without_the_table_of_keys_there_is_no_job(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    gateway.keys.is_away = True
    response = await post(client)
    assert_problem(response, 503, "temporarily-unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert gateway.bus.published == []
    assert (await client.post("/generate-report", json=REQUEST)).status_code == 202


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"abc"', "abc"),
        (r'"a \"b\" \\ c"', r'  "a \"b\" \\ c"  '),
        ("a/b+c=", '"a/b+c="'),
        ("01JD:x_y.z~!", '"01JD:x_y.z~!"'),
        ("k" * 255, '"' + "k" * 255 + '"'),
    ],
)
async def test_a_key_is_the_same_quoted_and_bare(
    client: httpx.AsyncClient, one: str, other: str
) -> None:
    first, again = await post(client, one), await post(client, other)
    assert first.status_code == 202
    assert again.content == first.content


@pytest.mark.parametrize(
    "key",
    ["", " ", '""', '"', '"a', 'a"', "a b", "a,b", '"a", "b"', '"a";b=1', r'"\n"', "a\\b",
     "a\tb", "k" * 256, '"' + "k" * 256 + '"', "é".encode(), b"\xff", '"\x7f"'],
)  # fmt: skip
async def test_what_is_no_key_is_refused(
    client: httpx.AsyncClient, gateway: FakeGateway, key: str | bytes
) -> None:
    assert_problem(await post(client, key), 400, "idempotency-key-invalid")
    assert gateway.bus.published == []


async def test_two_keys_are_none(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/generate-report",
        content=json.dumps(REQUEST),
        headers=[
            ("content-type", "application/json"),
            ("idempotency-key", "a"),
            ("idempotency-key", "a"),
        ],
    )
    assert_problem(response, 400, "idempotency-key-invalid")


async def test_keys_are_forgotten_when_their_jobs_expire(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    await post(client, "old")
    gateway.clock.now = NOW + RETENTION + timedelta(milliseconds=1)
    await post(client, "new")
    same = FakeGateway(clock=gateway.clock, keys=gateway.keys)
    keyed: KeyedSubmissions = same.application().state.services.keyed_submissions
    assert await keyed.purge() == 1
    assert gateway.keys.rows.keys() == {("default", "new")}


async def test_a_dry_run_says_how_a_request_was_understood_and_makes_no_job(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    request = {name: value for name, value in REQUEST.items() if name != "format"}
    response = await post(client, request={**request, "validateOnly": True})
    assert response.status_code == 200
    assert "location" not in response.headers
    assert response.json() == {
        "valid": True,
        "request": {**request, "format": "CSV", "parameters": {}},
    }
    assert gateway.bus.published == []
    assert gateway.keys.rows == {}


async def test_a_dry_run_refuses_what_would_be_refused(client: httpx.AsyncClient) -> None:
    refused = await post(client, request={**UNKNOWN_TYPE, "validateOnly": True})
    assert refused.json() == (await post(client, request=UNKNOWN_TYPE)).json()
    assert refused.status_code == 422
    assert_problem(
        await post(client, "a b", {**REQUEST, "validateOnly": True}), 400, "idempotency-key-invalid"
    )


@pytest.mark.parametrize("value", [None, "true", 1, []])
async def test_validate_only_is_true_or_false(client: httpx.AsyncClient, value: Any) -> None:
    response = await post(client, request={**REQUEST, "validateOnly": value})
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert (error["field"], error["code"]) == ("/validateOnly", "WRONG_TYPE")
