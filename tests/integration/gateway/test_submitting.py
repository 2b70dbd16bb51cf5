"""Submitting over a real broker: what is accepted is on the topic, what is refused isn't."""

import asyncio
import json
from typing import Any, Final

import httpx
import pytest
import yaml

from local_stack.paths import CHECKOUT
from shared.events import ReportRequested
from tests.integration.gateway.bench import Bench
from tests.support.gateway import REQUEST

SEED: Final = yaml.safe_load((CHECKOUT / "tests" / "fixtures" / "seed-openapi.yaml").read_text())
PUBLISHED_EXAMPLE: Final = SEED["paths"]["/generate-report"]["post"]["requestBody"]["content"][
    "application/json"
]["examples"]["default"]["value"]
EXAMPLE_OF_THE_PROSE: Final = {
    "reportType": "ORDERS_SUMMARY",
    "dateRange": {"fromDate": "2024-01-01", "toDate": "2024-01-31"},
    "callbackUrl": "https://client.example.com/hooks/report-completed",
}


@pytest.mark.parametrize(
    "request_body", [PUBLISHED_EXAMPLE, EXAMPLE_OF_THE_PROSE], ids=["document", "prose"]
)
async def test_the_published_examples_work_verbatim(
    bench: Bench, client: httpx.AsyncClient, request_body: dict[str, Any]
) -> None:
    response = await client.post("/generate-report", json=request_body)
    assert response.status_code == 202
    job = response.json()
    assert (job["status"], job["format"]) == ("PENDING", "CSV")

    [received] = await bench.published()
    event = received.event
    assert isinstance(event, ReportRequested)
    assert event.job_id == job["jobId"]
    asked = event.request.model_dump(by_alias=True, exclude={"parameters"})
    assert asked == {"format": "CSV", **request_body}

    polled = await client.get(response.headers["location"])
    assert (polled.status_code, polled.json()["status"]) == (200, "PENDING")
    assert polled.json()["createdAt"] == job["createdAt"]
    assert polled.json()["expiresAt"] == job["expiresAt"]


REFUSED: Final[dict[str, str]] = {
    "unknown type": json.dumps({**REQUEST, "reportType": "NOPE"}),
    "format null": json.dumps({**REQUEST, "format": None}),
    "dates reversed": json.dumps(
        {**REQUEST, "dateRange": {"fromDate": "2024-02-01", "toDate": "2024-01-01"}}
    ),
    "span over the limit": json.dumps(
        {**REQUEST, "dateRange": {"fromDate": "2020-01-01", "toDate": "2024-01-01"}}
    ),
    "callback not http": json.dumps({**REQUEST, "callbackUrl": "file:///etc/passwd"}),
    "callback with userinfo": json.dumps({**REQUEST, "callbackUrl": "https://a:b@example.com/"}),
    "callback forbidden": json.dumps({**REQUEST, "callbackUrl": "http://169.254.169.254/"}),
    "callback loopback": json.dumps({**REQUEST, "callbackUrl": "http://localhost:8080/"}),
    "wrong type": json.dumps({**REQUEST, "dateRange": [1]}),
    "bad JSON": '{"reportType": ',
    "NaN": '{"parameters": {"a": NaN}}',
    "duplicate name": '{"format": "CSV", "format": "CSV"}',
    "too large": json.dumps(REQUEST).ljust(65_537),
}


async def test_nothing_is_published_for_a_refused_request(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    headers = {"content-type": "application/json"}
    for name, body in REFUSED.items():
        response = await client.post("/generate-report", content=body, headers=headers)
        assert 400 <= response.status_code < 500, name
        assert response.headers["content-type"] == "application/problem+json", name
    assert await bench.published() == []


async def test_concurrent_requests_are_as_many_jobs(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(
        *(client.post("/generate-report", json=REQUEST) for _ in range(50))
    )
    accepted = {answer.json()["jobId"] for answer in answers}
    assert len(accepted) == 50
    assert {received.event.job_id for received in await bench.published()} == accepted
