"""SIGTERM of a gateway with clients on it: they are answered, and the process ends in time."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from local_stack.polling import poll_until
from tests.integration.gateway.bench import ServedGateway, served_gateway
from tests.integration.gateway.live import LONG, SECONDS, watches_of
from tests.integration.gateway.test_events import rest
from tests.support.event_stream import EventReader
from tests.support.gateway import REQUEST
from tests.support.servers import DatabaseUrls, Kafka, LocalKafka, Postgres

STREAMS: Final = 50
WAITS: Final = 50


async def exit_code_after_sigterm(gateway: ServedGateway, *, seconds: float = SECONDS) -> int:
    os.kill(gateway.pid, signal.SIGTERM)
    async with asyncio.timeout(seconds):
        return await gateway.process.wait()


async def submit(client: httpx.AsyncClient) -> str:
    """Submit a job of which nobody will ever hear anything."""
    response = await client.post("/generate-report", json=REQUEST)
    assert response.status_code == httpx.codes.ACCEPTED
    return str(response.headers["location"])


async def test_streams_and_waits_end_well_and_the_process_exits(
    kafka: Kafka, database: DatabaseUrls, topic_prefix: str, tmp_path: Path
) -> None:
    settings = {"GATEWAY_SHUTDOWN_GRACE": LONG, "GATEWAY_LONGEST_WAIT": LONG}
    limits = httpx.Limits(max_connections=None)
    async with (
        served_gateway(kafka, database, topic_prefix, tmp_path, **settings) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=SECONDS, limits=limits) as client,
        AsyncExitStack() as cleanup,
    ):
        path = await submit(client)
        streams = [
            EventReader(await cleanup.enter_async_context(client.stream("GET", f"{path}/events")))
            for _ in range(STREAMS)
        ]
        assert {(await stream.next()).status for stream in streams} == {"PENDING"}
        headers = {"prefer": f"wait={LONG}"}
        waits = [asyncio.create_task(client.get(path, headers=headers)) for _ in range(WAITS)]

        async def all_wait() -> bool:
            return await watches_of(client) == STREAMS + WAITS

        await poll_until(all_wait, seconds=SECONDS)

        # Long before the grace is over: they end by themselves, whole, and nobody is cut off.
        assert await exit_code_after_sigterm(gateway) == 0
        assert [await rest(stream) for stream in streams] == [[]] * STREAMS
        answers = await asyncio.gather(*waits)
    assert {answer.json()["status"] for answer in answers} == {"PENDING"}


async def test_a_client_that_never_ends_its_request_holds_the_process_no_longer_than_the_grace(
    kafka: Kafka, database: DatabaseUrls, topic_prefix: str, tmp_path: Path
) -> None:
    settings = {"GATEWAY_SHUTDOWN_GRACE": "1", "GATEWAY_BODY_TIMEOUT": LONG}
    async with served_gateway(kafka, database, topic_prefix, tmp_path, **settings) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(gateway.url).port)
        writer.write(
            b"POST /generate-report HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        await writer.drain()
        async with httpx.AsyncClient(base_url=gateway.url, timeout=SECONDS) as client:
            await submit(client)  # the server has read what was sent before
        assert await exit_code_after_sigterm(gateway) == 0
        writer.close()


async def test_a_broker_that_hangs_doesnt_hold_the_process(
    local_kafka: LocalKafka, postgres: Postgres, topic_prefix: str, tmp_path: Path
) -> None:
    limits = {"KAFKA_PUBLISH_TIMEOUT": "2", "KAFKA_REQUEST_TIMEOUT": "10"}
    async with (
        postgres.create_database() as database,
        served_gateway(local_kafka, database, topic_prefix, tmp_path, **limits) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=SECONDS) as client,
    ):
        await submit(client)
        with local_kafka.frozen():
            response = await client.post("/generate-report", json=REQUEST)
            assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE
            # What was to be published lies with the Kafka client, which tries on.
            assert await exit_code_after_sigterm(gateway, seconds=40) == 0
