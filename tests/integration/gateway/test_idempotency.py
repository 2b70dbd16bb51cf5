"""`Idempotency-Key` on a real broker and a real database."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx

from gateway.settings import Settings
from gateway.store import IdempotencyKeys
from shared.database.pool import open_database
from tests.integration.gateway.bench import Bench, aged, open_bench
from tests.support.gateway import REQUEST
from tests.support.servers import DatabaseUrls, Kafka

KEY: Final = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


async def post(
    client: httpx.AsyncClient, request: Mapping[str, Any] = REQUEST, key: str = KEY
) -> httpx.Response:
    return await client.post("/generate-report", json=request, headers={"idempotency-key": key})


async def test_fifty_concurrent_requests_with_one_key_are_one_job(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(*(post(client) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({(answer.content, answer.headers["location"]) for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    job_id = answers[0].json()["jobId"]
    assert {received.event.job_id for received in await bench.published()} == {job_id}
    # Neither connections nor locks are left behind.
    answers = await asyncio.gather(*(post(client, key=f"k{number}") for number in range(50)))
    assert len({answer.json()["jobId"] for answer in answers}) == 50


async def test_requests_with_one_key_at_two_gateways_at_the_same_time_are_one_job(
    bench: Bench, kafka: Kafka, database: DatabaseUrls, topic_prefix: str, tmp_path: Path
) -> None:
    servers = kafka.bootstrap_servers
    async with open_bench(servers, database, topic_prefix, tmp_path) as other:
        for number in range(10):
            clients = [bench.client, other.client] * 5
            answers = await asyncio.gather(*(post(one, key=f"k{number}") for one in clients))
            assert {answer.status_code for answer in answers} == {202}
            assert len({(answer.content, answer.headers["location"]) for answer in answers}) == 1
            assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len({received.event.job_id for received in await bench.published()}) == 10


async def test_concurrent_requests_with_one_key_that_differ_are_one_job_and_refusals(
    client: httpx.AsyncClient,
) -> None:
    requests = [{**REQUEST, "format": name} for name in ("CSV", "JSON", "PDF")]
    answers = await asyncio.gather(*(post(client, request) for request in requests * 5))
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.json()["jobId"] for answer in accepted}) == 1
    assert len(accepted) == 5
    assert {answer.status_code for answer in answers} == {202, 422}


async def test_an_acknowledged_request_is_not_published_again(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    first = await post(client)
    await bench.wait_acknowledged(first.json()["jobId"])
    again = await post(client)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await bench.published()) == 1


async def test_another_request_with_the_same_key_is_refused(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    await post(client)
    other = await post(client, {**REQUEST, "format": "PDF"})
    assert other.status_code == 422
    assert other.json()["type"] == "urn:report-jobs:problem:idempotency-key-reused"
    assert len(await bench.published()) == 1


async def test_expired_keys_are_purged_oldest_first_and_a_bounded_number_at_once(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    for number in range(3):
        response = await post(client, key=f"k{number}")
        # What is being noted of a key at this moment would hold its row.
        await bench.wait_acknowledged(response.json()["jobId"])
    # Younger than what the gateway itself purges from time to time.
    old = [aged(timedelta(days=days)) for days in (3, 2, 1)]
    admin = await asyncpg.connect(bench.database.admin)
    try:
        for number, job_id in enumerate(old):
            await admin.execute(
                "UPDATE gateway.idempotency_keys SET job_id = $2 WHERE key = $1",
                f"k{number}",
                job_id,
            )
        async with open_database(Settings(), schema="gateway", service="gateway") as database:
            keys = IdempotencyKeys(database, timeout=60)
            before = old[2]
            assert await keys.purge(before, limit=1) == 1
            assert await remaining(admin) == {"k1", "k2"}
            assert await keys.purge(before, limit=100) == 1
            assert await remaining(admin) == {"k2"}
    finally:
        await admin.close()


async def remaining(admin: "asyncpg.Connection[asyncpg.Record]") -> set[str]:
    rows = await admin.fetch("SELECT key FROM gateway.idempotency_keys")
    return {row["key"] for row in rows}
