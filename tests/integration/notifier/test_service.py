"""The whole notifier as its own process, between a real Kafka and a real PostgreSQL."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from standardwebhooks import Webhook

from local_stack.ports import free_ports
from notifier.app import MIGRATIONS, SCHEMA
from shared.bus.topics import ensure_topics
from shared.clock import utc_now
from shared.database.migrations import migrate
from shared.events import JobCompleted, byte_headers, encode, event_id, webhook_id
from shared.settings import KafkaSettings
from shared.topics import Topic
from tests.integration.notifier.bench import PATIENCE, Answers, hang, received, until
from tests.support.servers import DatabaseUrls, Kafka
from tests.unit.notifier.samples import SECRET, completed
from tests.unit.notifier.servers import RawServer, raw_server

KEY = "1:" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture
async def environment(kafka: Kafka, database: DatabaseUrls, topic_prefix: str) -> dict[str, str]:
    """The environment of a notifier whose schema and topics are there."""
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix)
    await ensure_topics(settings, timedelta(days=7))
    await asyncio.to_thread(migrate, database.notifier, schema=SCHEMA, directory=MIGRATIONS)
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "JOB_ID_KEYS": KEY,
        "LINK_KEYS": KEY,
        "CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
        # The jobs of these tests are as old as the samples.
        "REPORT_RETENTION": "P3650D",
        "NOTIFIER_DATABASE_URL": database.notifier,
        "NOTIFIER_SIGNING_SECRETS": SECRET,
        "NOTIFIER_PORT": "0",
        # Nothing may be tried again because the machine is slow.
        "NOTIFIER_CONNECT_TIMEOUT": str(PATIENCE),
        "NOTIFIER_TOTAL_TIMEOUT": str(PATIENCE),
        "NOTIFIER_LEASE": str(2 * PATIENCE),
        "NOTIFIER_DRAIN": str(PATIENCE),
        "NOTIFIER_DATABASE_CONNECT_TIMEOUT": str(PATIENCE),
        "KAFKA_PUBLISH_TIMEOUT": str(PATIENCE),
        "NOTIFIER_POLL": "0.5",
        "NOTIFIER_RETRY_DELAYS": "[0, 0.1, 0.1, 0.1]",
    }


@asynccontextmanager
async def a_notifier(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notifier", "serve", env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ask the process to stop; uvicorn ends it by the same signal once all is closed."""
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), PATIENCE) in {0, -signal.SIGTERM}


async def publish(environment: dict[str, str], *events: JobCompleted) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()
    try:
        for event in events:
            message = encode(event, source="report-worker", time=utc_now())
            await producer.send_and_wait(
                environment["KAFKA_TOPIC_PREFIX"] + message.topic,
                message.value,
                message.key,
                headers=byte_headers(message.headers),
            )
    finally:
        await producer.stop()


async def webhook_events(environment: dict[str, str], count: int) -> list[tuple[str, str]]:
    """Type and job id of the first `count` events that the notifier wrote."""
    consumer = AIOKafkaConsumer(
        environment["KAFKA_TOPIC_PREFIX"] + Topic.EVENTS,
        bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"],
        auto_offset_reset="earliest",
        group_id=None,
    )
    await consumer.start()
    found: list[tuple[str, str]] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while len(found) < count:
                record = await consumer.getone()
                headers = {name: value.decode() for name, value in record.headers}
                if headers["ce_source"] == "/report-jobs/notifier":
                    found.append((headers["ce_type"], headers["ce_subject"]))
    finally:
        await consumer.stop()
    return found


async def requests_of(server: RawServer, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(server.requests) < count:  # noqa: ASYNC110 - the server only counts
            await asyncio.sleep(0.01)


async def test_end_of_a_run_reaches_the_receiver_signed_and_is_told_on_the_topic(
    environment: dict[str, str],
) -> None:
    async with raw_server(Answers([500, 500, 200])) as server, a_notifier(environment) as process:
        event = completed(server.url("/hook?token=t"))
        await publish(environment, event, event)
        told = await webhook_events(environment, 1)
        await stop(process)
    requests = received(server)
    assert len(requests) == 3
    assert {r.headers["webhook-id"] for r in requests} == {webhook_id(event_id(event))}
    for request in requests:
        Webhook(SECRET).verify(request.body, request.headers)
    body = json.loads(requests[-1].body)
    assert (body["jobId"], body["status"]) == (event.job_id, "COMPLETED")
    assert body["downloadUrl"].startswith("http://127.0.0.1:8080/report-jobs/")
    assert told == [("report-jobs.WebhookDelivered.v1", event.job_id)]


async def test_killed_notifier_is_followed_by_one_that_sends_the_same_webhook(
    environment: dict[str, str],
) -> None:
    short = {**environment, "NOTIFIER_TOTAL_TIMEOUT": "1", "NOTIFIER_LEASE": "6"}
    async with raw_server(hang) as server:
        async with a_notifier(short) as process:
            event = completed(server.url())
            await publish(short, event)
            await requests_of(server, 1)
            process.kill()
            await process.wait()
        before = len(server.requests)  # on a slow machine it may have tried more than once
        async with a_notifier(short):
            await requests_of(server, before + 1)
    first, second = received(server)[0], received(server)[before]
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


async def test_restarted_notifier_sends_nothing_again(environment: dict[str, str]) -> None:
    async with raw_server(Answers([200])) as server:
        for _ in range(2):
            async with a_notifier(environment) as process:
                event = completed(server.url())
                before = len(server.requests)
                await publish(environment, event)
                await requests_of(server, before + 1)
                await stop(process)
        ids = [request.headers["webhook-id"] for request in received(server)]
    assert len(ids) == len(set(ids)) == 2


async def test_stopping_notifier_lets_the_webhook_under_way_end(
    environment: dict[str, str],
) -> None:
    may_answer = asyncio.Event()

    async def answer_late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    port = next(free_ports())
    reachable = {**environment, "NOTIFIER_PORT": str(port)}
    async with raw_server(answer_late) as server, a_notifier(reachable) as process:
        event = completed(server.url())
        await publish(reachable, event)
        await requests_of(server, 1)
        stopping = asyncio.create_task(stop(process))
        await is_closed(port)
        may_answer.set()
        await stopping
        assert await webhook_events(reachable, 1) == [
            ("report-jobs.WebhookDelivered.v1", event.job_id)
        ]
        assert len(server.requests) == 1


async def test_probes_and_metrics_tell_how_the_notifier_is(environment: dict[str, str]) -> None:
    port = next(free_ports())
    async with (
        raw_server(Answers([500, 200])) as server,
        a_notifier({**environment, "NOTIFIER_PORT": str(port)}),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http,
    ):
        await is_ready(http)
        await publish(environment, completed(server.url()))
        await webhook_events(environment, 1)
        assert (await http.get("/livez")).status_code == 200
        await until(lambda: are_counted(http))


async def are_counted(http: httpx.AsyncClient) -> bool:
    """Tell whether the metrics have what happened, which is counted after it can be seen."""
    counted = (await http.get("/metrics")).text.splitlines()
    return {
        'report_jobs_notifier_attempts_total{outcome="status_500"} 1.0',
        'report_jobs_notifier_attempts_total{outcome="delivered"} 1.0',
        "report_jobs_notifier_taken_in_total 1.0",
    } <= set(counted)


async def is_closed(port: int) -> None:
    """Wait until the notifier takes no more probes: it is stopping."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.02)


async def is_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def test_strict_notifier_gives_up_on_loopback_without_calling_it(
    environment: dict[str, str],
) -> None:
    strict = {**environment, "CALLBACK_ALLOWED_NETWORKS": ""}
    async with raw_server(Answers([200])) as server, a_notifier(strict):
        event = completed(server.url())
        await publish(strict, event)
        told = await webhook_events(strict, 1)
    assert told == [("report-jobs.WebhookExhausted.v1", event.job_id)]
    assert server.requests == []
