"""A broker or a database that goes away: an honest 503, and recovery without help."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.app import build_app
from gateway.settings import Settings
from local_stack.polling import poll_until
from shared.bus.topics import ensure_topics
from tests.integration.gateway.bench import (
    RETENTION,
    Bench,
    bus_settings,
    configure,
    open_bench,
    prepare,
)
from tests.support.gateway import REQUEST, client_of
from tests.support.servers import DatabaseUrls, LocalKafka, LocalPostgres

_PUBLISH_TIMEOUT = 2.0
_IN_TIME = 30.0
"""A busy machine takes some time by itself; but all that is waited for else takes longer."""
_RECOVERY_SECONDS = 90.0


async def eventually(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    """Repeat a request until it is answered with `status`."""

    async def is_answered() -> bool:
        body = REQUEST if method == "POST" else None
        return (await client.request(method, path, json=body)).status_code == status

    await poll_until(is_answered, seconds=_RECOVERY_SECONDS)


async def eventually_missing(client: httpx.AsyncClient, names: set[str]) -> None:
    """Ask /readyz until it says that just these are missing: a check that is late counts too."""

    async def are_missing() -> bool:
        response = await client.get("/readyz")
        return response.status_code == 503 and response.json()["missing"].keys() == names

    await poll_until(are_missing, seconds=_RECOVERY_SECONDS)


def assert_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["type"] == "urn:report-jobs:problem:temporarily-unavailable"


@pytest.fixture
async def local_database(local_postgres: LocalPostgres) -> AsyncIterator[DatabaseUrls]:
    async with local_postgres.create_database() as urls:
        yield urls


@pytest.fixture
async def fragile(
    local_kafka: LocalKafka,
    local_database: DatabaseUrls,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Bench]:
    """A gateway on servers that a test may kill."""
    servers = local_kafka.bootstrap_servers
    configure(monkeypatch, servers, local_database, topic_prefix, tmp_path)
    monkeypatch.setenv("KAFKA_PUBLISH_TIMEOUT", str(_PUBLISH_TIMEOUT))
    await prepare(local_database)
    async with open_bench(servers, local_database, topic_prefix, tmp_path) as bench:
        yield bench


async def test_a_broker_that_dies_is_503_in_time_and_its_return_is_noticed(
    fragile: Bench, local_kafka: LocalKafka
) -> None:
    client = fragile.client
    assert (await client.post("/generate-report", json=REQUEST)).status_code == 202
    await local_kafka.kill()
    try:
        async with asyncio.timeout(_IN_TIME):
            assert_unavailable(await client.post("/generate-report", json=REQUEST))
        # What needs no broker goes on.
        job_id = fragile.job_ids.new("default")
        assert (await client.get(f"/report-jobs/{job_id}")).status_code == 200
        assert (await client.get("/livez")).status_code == 200
        await eventually_missing(client, {"kafka"})
    finally:
        await local_kafka.start()
    await eventually(client, "POST", "/generate-report", 202)
    await eventually(client, "GET", "/readyz", 200)


async def test_a_gateway_starts_while_its_broker_and_database_are_away_and_finds_them_later(
    local_kafka: LocalKafka,
    local_postgres: LocalPostgres,
    local_database: DatabaseUrls,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(monkeypatch, local_kafka.bootstrap_servers, local_database, topic_prefix, tmp_path)
    monkeypatch.setenv("KAFKA_PUBLISH_TIMEOUT", str(_PUBLISH_TIMEOUT))
    await prepare(local_database)
    await ensure_topics(bus_settings(local_kafka.bootstrap_servers, topic_prefix), RETENTION)
    await asyncio.gather(local_kafka.kill(), local_postgres.kill())
    try:
        app = build_app(Settings())
        async with app.router.lifespan_context(app), client_of(app) as client:
            assert_unavailable(await client.post("/generate-report", json=REQUEST))
            assert_unavailable(await client.get("/report-jobs"))
            assert (await client.get("/report-types")).status_code == 200
            await eventually_missing(client, {"database", "read_model", "kafka"})
            await asyncio.gather(local_kafka.start(), local_postgres.start())
            await eventually(client, "POST", "/generate-report", 202)
            await eventually(client, "GET", "/readyz", 200)
    finally:
        await local_kafka.restart()
        await local_postgres.restart()


async def test_a_database_that_dies_is_503_in_time_and_submitting_goes_on(
    fragile: Bench, local_postgres: LocalPostgres
) -> None:
    client = fragile.client
    path = f"/report-jobs/{fragile.job_ids.new('default')}"
    assert (await client.get(path)).status_code == 200
    await local_postgres.kill()
    try:
        async with asyncio.timeout(_IN_TIME):
            assert_unavailable(await client.get(path))
            assert_unavailable(await client.get("/report-jobs"))
        assert (await client.post("/generate-report", json=REQUEST)).status_code == 202
        await eventually_missing(client, {"database", "read_model"})
    finally:
        await local_postgres.start()
    await eventually(client, "GET", path, 200)
    assert (await client.get("/report-jobs")).status_code == 200
