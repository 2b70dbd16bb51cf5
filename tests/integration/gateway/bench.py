"""Builds a gateway on real servers, and looks at what it wrote."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest
from starlette.applications import Starlette

from gateway.app import MIGRATIONS, build_app
from gateway.settings import Settings
from local_stack.child import ChildProcess
from local_stack.paths import CATALOGUE, StackDirectory
from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK, free_ports
from local_stack.services import SERVICES, answers_ready, process_spec
from shared.bus.stored_log import open_log
from shared.bus.topics import ensure_topics
from shared.clock import utc_now
from shared.database.migrations import migrate
from shared.events import ReceivedEvent, decode, text_headers
from shared.job_id import JobId, JobIds, created_at
from shared.keyring import KeyRing
from shared.links import DownloadLinks
from shared.settings import KafkaSettings
from shared.topics import Topic
from status_projector.app import MIGRATIONS as READ_MODEL_MIGRATIONS
from tests.support.gateway import client_of
from tests.support.servers import DatabaseUrls, Kafka

KEYS: Final = KeyRing(signing_number=1, keys={1: b"k" * 32})
RETENTION: Final = timedelta(days=7)
PUBLIC_URL: Final = "http://gateway"
_READY_SECONDS: Final = 90.0
_START_SECONDS: Final = 120.0
_IS_ACKNOWLEDGED: Final = (
    "SELECT acked_at IS NOT NULL FROM gateway.idempotency_keys WHERE job_id = $1"
)


@dataclass(frozen=True, slots=True)
class Bench:
    """A running gateway, its client, and the servers behind it."""

    app: Starlette
    client: httpx.AsyncClient
    kafka: KafkaSettings
    database: DatabaseUrls
    artifacts: Path

    @property
    def job_ids(self) -> JobIds:
        """What makes ids as this gateway does."""
        return JobIds(KEYS, utc_now)

    @property
    def links(self) -> DownloadLinks:
        """What makes links as this gateway does."""
        return DownloadLinks(PUBLIC_URL, KEYS, utc_now)

    async def published(self) -> list[ReceivedEvent]:
        """Read the whole requests topic."""
        async with open_log(self.kafka, [Topic.REQUESTS]) as stored:
            events = [
                decode(text_headers(record.headers), record.value)
                for partition, offsets in (await stored.bounds()).items()
                async for records in stored.read(partition, offsets)
                for record in records
            ]
        assert None not in events
        return [event for event in events if event is not None]

    async def add_job(self, job_id: str, tenant: str = "default", **columns: Any) -> None:
        """Put a row into the read model, PENDING unless `columns` say otherwise."""
        moment = created_at(job_id)  # type: ignore[arg-type]
        row = {
            "job_id": job_id,
            "tenant": tenant,
            "report_type": "ORDERS_SUMMARY",
            "format": "CSV",
            "created_at": moment,
            "updated_at": moment,
            "status": "PENDING",
            "description_version": [1],
            "description_digest": 0,
            "execution_version": [1, 0, 0, 0, 0],
            "execution_digest": 0,
            **columns,
        }
        await self._insert(row)

    async def add_tombstone(self, job_id: str, tenant: str = "default") -> None:
        """Put what is left of a deleted job into the read model."""
        await self._insert({"job_id": job_id, "tenant": tenant, "deleted_at": utc_now()})

    async def set_watermark(self, purged_before: datetime) -> None:
        """Say that all jobs from before a moment were purged."""
        connection = await asyncpg.connect(self.database.admin)
        try:
            await connection.execute(
                "UPDATE read_model.watermark SET purged_before = $1", purged_before
            )
        finally:
            await connection.close()

    async def _insert(self, row: Mapping[str, Any]) -> None:
        names = ", ".join(row)
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        statement = f"INSERT INTO read_model.jobs ({names}) VALUES ({places})"  # noqa: S608 - our own names
        await self.execute(statement, *row.values())

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Run a statement as the administrator."""
        connection = await asyncpg.connect(self.database.admin)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()

    async def wait_acknowledged(self, job_id: str) -> None:
        """Return when the gateway has noted that a keyed request is on the log."""
        connection = await asyncpg.connect(self.database.admin)

        async def is_noted() -> bool:
            return await connection.fetchval(_IS_ACKNOWLEDGED, job_id) is True

        try:
            await poll_until(is_noted, seconds=_READY_SECONDS)
        finally:
            await connection.close()

    async def wait_ready(self) -> None:
        """Return when /readyz says so."""

        async def is_ready() -> bool:
            return (await self.client.get("/readyz")).status_code == httpx.codes.OK

        await poll_until(is_ready, seconds=_READY_SECONDS)


def aged(job_age: timedelta) -> JobId:
    """Return the id of a job that was accepted a while ago."""
    return JobIds(KEYS, clock=lambda: utc_now() - job_age).new("default")


def bus_settings(bootstrap_servers: str, topic_prefix: str) -> KafkaSettings:
    """Return how a test itself looks at the log."""
    return KafkaSettings(
        bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix, request_timeout=60
    )


def environment(
    bootstrap_servers: str, database: DatabaseUrls, topic_prefix: str, directory: Path
) -> Mapping[str, str]:
    """Return the settings of a gateway whose patience a busy machine doesn't wear out.

    A test of what comes when its time is up shortens the time that it is about.
    """
    keys = "1:" + base64.b64encode(b"k" * 32).decode()
    return {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "KAFKA_PUBLISH_TIMEOUT": "60",
        "KAFKA_REQUEST_TIMEOUT": "120",  # after which the client would publish once more
        "KAFKA_CONNECT_RETRY_LONGEST": "0.5",
        "GATEWAY_DATABASE_URL": database.gateway,
        "GATEWAY_DATABASE_CONNECT_TIMEOUT": "60",
        "GATEWAY_DATABASE_COMMAND_TIMEOUT": "60",
        "JOB_ID_KEYS": keys,
        "LINK_KEYS": keys,
        "PUBLIC_URL": PUBLIC_URL,
        "CATALOGUE_DIR": str(CATALOGUE),
        "ARTIFACTS_URL": (directory / "artifacts").as_uri(),
    }


def configure(
    monkeypatch: pytest.MonkeyPatch,
    bootstrap_servers: str,
    database: DatabaseUrls,
    topic_prefix: str,
    directory: Path,
) -> None:
    """Set the environment that the gateway reads."""
    for name, value in environment(bootstrap_servers, database, topic_prefix, directory).items():
        monkeypatch.setenv(name, value)


async def prepare(database: DatabaseUrls) -> None:
    """Make the tables of the gateway and of the read model."""
    for url, schema, directory in (
        (database.status_projector, "read_model", READ_MODEL_MIGRATIONS),
        (database.gateway, "gateway", MIGRATIONS),
    ):
        await asyncio.to_thread(migrate, url, schema=schema, directory=directory)


@asynccontextmanager
async def open_bench(
    bootstrap_servers: str, database: DatabaseUrls, topic_prefix: str, directory: Path
) -> AsyncIterator[Bench]:
    """Run a gateway for which `configure` has set the environment, until it is ready."""
    kafka = bus_settings(bootstrap_servers, topic_prefix)
    await ensure_topics(kafka, RETENTION)
    app = build_app(Settings())
    async with app.router.lifespan_context(app), client_of(app) as client:
        bench = Bench(app, client, kafka, database, directory / "artifacts")
        await bench.wait_ready()
        yield bench


OpenBench = Callable[..., AbstractAsyncContextManager[Bench]]
"""Runs a gateway on topics and tables of its own; takes settings without their `GATEWAY_`."""


@dataclass(frozen=True, slots=True)
class ServedGateway:
    """A gateway as a process of its own, as it is deployed."""

    url: str
    process: ChildProcess

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.identity.pid


@asynccontextmanager
async def served_gateway(
    kafka: Kafka, database: DatabaseUrls, topic_prefix: str, directory: Path, **settings: str
) -> AsyncIterator[ServedGateway]:
    """Run a gateway until the body ends, on a database without tables; `settings` are its own."""
    await ensure_topics(bus_settings(kafka.bootstrap_servers, topic_prefix), RETENTION)
    await prepare(database)
    port = next(free_ports())
    variables = {
        "PATH": os.environ["PATH"],
        **environment(kafka.bootstrap_servers, database, topic_prefix, directory),
        "GATEWAY_PORT": str(port),
        **settings,
    }
    [service] = (service for service in SERVICES if service.name == "gateway")
    process = await ChildProcess.start(process_spec(service, StackDirectory(directory), variables))

    async def is_ready() -> bool:
        return await asyncio.to_thread(answers_ready, port)

    try:
        await poll_until(is_ready, seconds=_START_SECONDS)
        yield ServedGateway(f"http://{LOOPBACK}:{port}", process)
    finally:
        await process.stop()
