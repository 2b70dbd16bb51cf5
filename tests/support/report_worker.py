"""Report-workers as real processes, what tests ask of them, and what they hear from them."""

import asyncio
import base64
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import yaml
from aiokafka import AIOKafkaConsumer

from local_stack.child import ChildProcess, ProcessSpec
from local_stack.polling import poll_until
from local_stack.ports import free_ports
from local_stack.services import SERVICES, answers_ready
from report_worker.app import MIGRATIONS, SCHEMA
from shared.bus import BusConnection, BusPublisher, make_broker
from shared.bus.stored_log import open_log
from shared.bus.topics import ensure_topics
from shared.clock import utc_now
from shared.database.migrations import migrate
from shared.events import (
    CancelRequested,
    DeleteRequested,
    OutgoingMessage,
    ReportRequested,
    RequestedDateRange,
    RequestedReport,
    RetryRequested,
    encode,
)
from shared.job_id import JobId, JobIds, created_at
from shared.keyring import KeyRing
from shared.settings import KafkaSettings
from shared.topics import Topic
from tests.support.servers import DatabaseUrls
from tests.support.worker_events import EventLog

PATIENCE: Final = 40.0
"""Seconds after which a condition is given up; far more than any of them needs."""

BUSY: Final = timedelta(seconds=8)
"""What a busy machine may add to a time that is promised, by the clock of the events."""

SHORT_LEASE: Final = "1.5"
"""Seconds that a worker keeps its jobs which is to be killed, and which is alone until then."""

QUICK: Final = {
    # No machine stands still for so long that another worker takes over what is still running.
    "REPORT_WORKER_LEASE": "15",
    "REPORT_WORKER_BEAT": "0.2",
    "REPORT_WORKER_SLOTS": "2",
    "REPORT_WORKER_RETRY_FIRST": "0.1",
    "REPORT_WORKER_DATABASE_CONNECT_TIMEOUT": "1",
}
"""Settings under which a test needs no long waits."""

_SERVICE: Final = next(service for service in SERVICES if service.module == "report_worker")
GATE: Final = 4711
_TEXT: Final = [{"name": "x", "title": "X", "type": "text"}]

CATALOGUE: Final[dict[str, dict[str, Any]]] = {
    "EMPTY": {"source": "orders", "sql": "SELECT 1::text AS x WHERE false"},
    "GATED": {"source": "orders", "sql": f"SELECT pg_advisory_xact_lock_shared({GATE})::text x"},
    "NO_SUCH_TABLE": {"source": "orders", "sql": "SELECT x FROM no_such_table"},
    "AWAY": {"source": "away", "sql": "SELECT 1::text AS x"},
    "HURRIED": {"source": "orders", "sql": f"SELECT pg_advisory_xact_lock_shared({GATE})::text x",
                "limits": {"max_duration": 1}},
    "IMPATIENT": {"source": "orders", "sql": "SELECT 1::text AS x", "limits": {"queue_ttl": 1}},
    "PATIENT": {"source": "orders", "sql": "SELECT 1::text AS x", "limits": {"queue_ttl": 300}},
    "STEADY": {"source": "orders", "sql": "SELECT repeat('x', 65536) AS x FROM"  # noqa: S608 - a test's
               " generate_series(1, 600) AS i CROSS JOIN LATERAL pg_sleep(sign(i) * CASE WHEN"
               f" pg_try_advisory_xact_lock_shared({GATE}) THEN 0 ELSE 0.05 END)"},
}  # fmt: skip
"""GATED and HURRIED wait for the test's `Gate`; the source of AWAY is the test's to choose. STEADY
gives its rows one by one, for half a minute, or the rest at once when the gate is opened."""


async def eventually(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
    """Return when the condition holds."""

    async def holds() -> bool:
        return condition()

    await poll_until(holds, seconds=seconds, interval=0.02)


class Gate:
    """Keeps every GATED report from going on until it is opened."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def closed(cls, dsn: str) -> AsyncIterator["Gate"]:
        """Close the gate of the database that holds the reports' source."""
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", GATE)
            yield cls(connection)
        finally:
            connection.terminate()

    async def wait_for(self, reports: int) -> None:
        """Return when so many reports stand before the gate."""

        async def are_there() -> bool:
            waiting = await self._connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND (classid, objid) = (0, $1)"  # limits for tenants have a lock, too
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                GATE,
            )
            return bool(waiting == reports)

        await poll_until(are_there, seconds=PATIENCE)

    async def open(self) -> None:
        """Let all reports go on, these and later ones."""
        await self._connection.execute("SELECT pg_advisory_unlock_all()")


async def until_queued(database: DatabaseUrls, runs: int) -> None:
    """Return when so many runs wait for a slot."""
    connection = await asyncpg.connect(database.admin)

    async def are_queued() -> bool:
        queued = await connection.fetchval(
            "SELECT count(*) FROM report_worker.runs WHERE state = 'queued'"
        )
        return bool(queued == runs)

    try:
        await poll_until(are_queued, seconds=PATIENCE)
    finally:
        await connection.close()


def _command(pid: str) -> bytes:
    """Return how a process was started; nothing for one that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@dataclass(frozen=True, slots=True)
class Worker:
    """One running process."""

    process: ChildProcess
    port: int

    async def is_ready(self) -> None:
        """Return when it says that it is ready."""

        async def answers() -> bool:
            return await asyncio.to_thread(answers_ready, self.port)

        await poll_until(answers, seconds=PATIENCE)

    @property
    def children(self) -> set[int]:
        """The ids of the processes that run its reports."""
        return self._started(b"report_worker.execution.child")

    @property
    def guards(self) -> set[int]:
        """The id of the process that ends what they started, should the worker be killed."""
        return self._started(b"guard.py")

    def _started(self, mark: bytes) -> set[int]:
        pid = self.process.identity.pid
        started = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child) for child in started if mark in _command(child)}

    @property
    def log(self) -> str:
        """All that it has written."""
        return self.process.spec.log.read_text()

    async def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        return await self.process.stop()

    async def kill(self) -> None:
        """`kill -9` for the worker alone; its children are not in its session."""
        await self.process.kill()


@dataclass(slots=True)
class WorkerBench:
    """A database, topics and a catalogue, on which workers are started."""

    environment: dict[str, str]
    logs: Path
    job_ids: JobIds
    publisher: BusPublisher
    kafka: KafkaSettings
    events: EventLog = field(default_factory=EventLog)
    workers: list[Worker] = field(default_factory=list)

    async def start_worker(self, **settings: str) -> Worker:
        """Start a worker; settings as `slots="3"` go beyond those of the bench."""
        port = next(free_ports())
        own = {f"REPORT_WORKER_{name.upper()}": value for name, value in settings.items()}
        spec = ProcessSpec(
            name="report-worker",
            command=_SERVICE.command("serve"),
            log=self.logs / f"worker-{len(self.workers)}.log",
            environment=self.environment | own | {"REPORT_WORKER_PORT": str(port)},
            stop_grace=PATIENCE,
        )
        worker = Worker(await ChildProcess.start(spec), port)
        self.workers.append(worker)
        return worker

    async def submit(self, report_type: str = "EMPTY", **changes: Any) -> JobId:
        """Publish a request as the gateway does, and return its job id."""
        event = self.request(report_type, **changes)
        await self.publish(encode(event, source="gateway", time=event.created_at))
        return JobId(event.job_id)

    async def submit_many(self, count: int, report_type: str = "EMPTY") -> list[JobId]:
        """Publish many requests."""
        return [await self.submit(report_type) for _ in range(count)]

    async def ask(
        self,
        kind: type[RetryRequested | CancelRequested | DeleteRequested],
        job: JobId,
        report_type: str = "EMPTY",
        **changes: Any,
    ) -> None:
        """Publish what a client asks of a job of acme's, about its first run."""
        fields = self.request(report_type).model_dump() | {
            "job_id": job,
            "created_at": created_at(job),
            "requested_at": utc_now(),
        }
        event = kind.model_validate(fields | changes)
        await self.publish(encode(event, source="gateway", time=event.requested_at))

    async def publish(self, *messages: OutgoingMessage) -> None:
        """Publish any messages."""
        acknowledged = await self.publisher.publish(messages)
        assert len(acknowledged) == len(messages)

    def request(self, report_type: str, *, tenant: str = "acme", **changes: Any) -> ReportRequested:
        """Make a request event; `changes` replace fields of it."""
        job = self.job_ids.new(tenant)
        fields: dict[str, Any] = {
            "job_id": job,
            "tenant": tenant,
            "created_at": created_at(job),
            "report_type": report_type,
            "format": "CSV",
            "run": 1,
            "request": RequestedReport(
                report_type=report_type,
                date_range=RequestedDateRange(from_date="2024-01-01", to_date="2024-01-31"),
                format="CSV",
            ),
        }
        return ReportRequested(**fields | changes)

    async def all_ended(self, *jobs: JobId) -> None:
        """Return when all jobs have ended, and all is told of them."""
        await eventually(lambda: all(self.events.is_complete(job) for job in jobs))

    async def told(self, job: JobId, *story: str) -> None:
        """Return when the job's story is as given."""
        try:
            await eventually(lambda: self.events.story(job) == list(story))
        except TimeoutError:
            raise AssertionError(f"{self.events.story(job)} instead of {story}") from None

    async def all_read(self) -> None:
        """Return when the workers have read all requests so far, and stored what these do."""
        async with open_log(self.kafka, [Topic.REQUESTS]) as log:
            ends = {one.partition: held.stop for one, held in (await log.bounds()).items()}

        async def are_read() -> bool:
            rows = await self._fetch("SELECT partition, next_offset FROM report_worker.positions")
            stored = {row["partition"]: row["next_offset"] for row in rows}
            return all(stored.get(partition, 0) >= end for partition, end in ends.items())

        await poll_until(are_read, seconds=PATIENCE)

    async def states(self, job: JobId) -> list[str]:
        """Return the states of the job's runs as the workers' database knows them."""
        runs = "SELECT state FROM report_worker.runs WHERE job_id = $1 ORDER BY run"
        return [row["state"] for row in await self._fetch(runs, job)]

    async def _fetch(self, sql: str, *values: object) -> "list[asyncpg.Record]":
        connection = await asyncpg.connect(self.environment["REPORT_WORKER_DATABASE_URL"])
        try:
            return await connection.fetch(sql, *values)
        finally:
            await connection.close()


@asynccontextmanager
async def worker_bench(
    directory: Path,
    *,
    bootstrap_servers: str,
    topic_prefix: str,
    database_url: str,
    sources: Mapping[str, str],
    catalogue: Mapping[str, Mapping[str, Any]] = CATALOGUE,
    settings: Mapping[str, str] = QUICK,
) -> AsyncIterator[WorkerBench]:
    """Set up everything but the workers; kill those that are left at the end."""
    keys = "1:" + base64.b64encode(secrets.token_bytes(32)).decode()
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap_servers,
        topic_prefix=topic_prefix,
        publish_timeout=PATIENCE,
        request_timeout=PATIENCE,
    )
    environment = {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "JOB_ID_KEYS": keys,
        "CATALOGUE_DIR": str(_write_catalogue(directory / "catalogue", catalogue)),
        "ARTIFACTS_URL": (directory / "artifacts").as_uri(),
        "REPORT_WORKER_DATABASE_URL": database_url,
        "REPORT_WORKER_SOURCES": json.dumps(dict(sources)),
        **settings,
    }
    await ensure_topics(kafka, timedelta(days=7))
    await asyncio.to_thread(migrate, database_url, schema=SCHEMA, directory=MIGRATIONS)
    job_ids = JobIds(KeyRing.parse(keys), utc_now)
    async with _publisher(kafka) as publisher:
        bench = WorkerBench(environment, directory / "logs", job_ids, publisher, kafka)
        async with _collecting(bench):
            try:
                yield bench
            finally:
                await asyncio.gather(*(worker.kill() for worker in bench.workers))


def _write_catalogue(directory: Path, catalogue: Mapping[str, Mapping[str, Any]]) -> Path:
    directory.mkdir(parents=True)
    for name, declared in catalogue.items():
        complete = {"name": name, "title": name, "columns": _TEXT} | dict(declared)
        (directory / f"{name.lower()}.yaml").write_text(yaml.safe_dump(complete))
    return directory


@asynccontextmanager
async def _publisher(settings: KafkaSettings) -> AsyncIterator[BusPublisher]:
    broker = make_broker(settings, service="test")
    connection = BusConnection(broker, settings)
    await connection.connect()
    try:
        yield BusPublisher(broker, connection, settings)
    finally:
        await connection.close()


@asynccontextmanager
async def _collecting(bench: WorkerBench) -> AsyncIterator[None]:
    consumer = AIOKafkaConsumer(
        bench.kafka.topic(Topic.EVENTS),
        bootstrap_servers=bench.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    collecting = asyncio.create_task(bench.events.collect(consumer))
    try:
        yield
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
        await consumer.stop()
