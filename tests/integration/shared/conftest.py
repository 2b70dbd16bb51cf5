"""A log of the test's own, a database that counts what was handled, and readers in between."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from local_stack.polling import poll_until
from shared.backoff import Backoff
from shared.bus import Batch, BusConnection, BusPublisher, LogReader, ReaderTimes, make_broker
from shared.bus.stored_log import open_log
from shared.bus.topics import ensure_topics
from shared.database import positions
from shared.database.pool import TRANSIENT_ERRORS, Database, open_database
from shared.events import (
    JobEvent,
    JobStarted,
    OutgoingMessage,
    ReceivedEvent,
    byte_headers,
    encode,
)
from shared.service import read_when_connected, running
from shared.settings import KafkaSettings
from shared.telemetry.metrics import ReaderMetrics
from shared.telemetry.probes import Heartbeat
from shared.topics import Topic
from tests.support import unreadable_record
from tests.support.job_histories import NOON, make_job_id
from tests.support.servers import DatabaseUrls, Kafka, LocalKafka, patient_settings

GROUP = "reader"
SECONDS = 120.0
"""When what is waited for is given up; far more than a busy machine needs."""
TIMES = ReaderTimes(
    commit_every=0.2,
    commit_retry=Backoff(first=0.05, longest=0.5),
    call_timeout=60.0,
    check_every=0.2,
    retry=Backoff(first=0.05, longest=0.5),
)
IMPATIENT = replace(TIMES, call_timeout=5.0)
"""For readers whose broker dies."""
_PATIENCE = 60.0
_IMPATIENCE = 3.0
_CREATE_EFFECTS = "CREATE TABLE effects (job_id text PRIMARY KEY, times int NOT NULL)"
_COUNT = """
INSERT INTO effects AS e (job_id, times) SELECT job_id, count(*) FROM unnest($1::text[]) AS job_id
GROUP BY job_id ON CONFLICT (job_id) DO UPDATE SET times = e.times + excluded.times
"""


def kafka_settings(kafka: Kafka, prefix: str, *, patience: float) -> KafkaSettings:
    """Return settings whose calls take up to `patience` seconds.

    A broker that is merely slow must not be given up: what is sent to it again is there twice.
    """
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=prefix,
        publish_timeout=patience,
        request_timeout=patience,
        connect_retry_longest=0.5,
    )


def started(number: int) -> JobStarted:
    """Return the event that stands for `number`."""
    return JobStarted(
        job_id=make_job_id(number),
        tenant="default",
        created_at=NOON,
        report_type="ORDERS_SUMMARY",
        format="CSV",
        run=1,
        attempt=1,
        started_at=NOON,
        worker="worker",
    )


def message(number: int) -> OutgoingMessage:
    return encode(started(number), source="test", time=datetime(2026, 3, 1, tzinfo=UTC))


class Log:
    """Both topics and the dead letter, as a foreign producer and a foreign reader see them."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.bootstrap_servers, max_request_size=8 * 1024 * 1024
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def write(self, *numbers: int, partition: int | None = None) -> None:
        """Write the events of `numbers` to the events topic."""
        async with self.producer() as producer:
            for number in numbers:
                sent = message(number)
                await producer.send(
                    self.settings.topic(sent.topic),
                    sent.value,
                    key=sent.key,
                    partition=partition,
                    headers=byte_headers(sent.headers),
                )
            await producer.flush()

    async def write_raw(
        self,
        value: bytes | None,
        *,
        key: bytes | None = b"key",
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int = 0,
    ) -> int:
        """Write any record to the events topic; return its offset."""
        async with self.producer() as producer:
            sent = await producer.send_and_wait(
                self.settings.topic(Topic.EVENTS),
                value,
                key=key,
                partition=partition,
                headers=list(headers),
            )
            return int(sent.offset)

    async def write_unreadable(self, *, partition: int = 0) -> None:
        """Write a record to the events topic that the client refuses to parse."""
        script = Path(unreadable_record.__file__)
        arguments = (self.settings.bootstrap_servers, self.settings.topic(Topic.EVENTS))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, script, *arguments, str(partition)),
            env=os.environ | {"AIOKAFKA_NO_EXTENSIONS": "1"},
        )
        assert await process.wait() == 0

    async def read(self, topic: Topic) -> list[ConsumerRecord]:
        """Return all records of a topic, as it is now."""
        patient = self.settings.model_copy(update={"request_timeout": _PATIENCE})
        async with open_log(patient, [topic]) as stored:
            return [
                record
                for partition, offsets in (await stored.bounds()).items()
                async for records in stored.read(partition, offsets)
                for record in records
            ]

    async def committed(self) -> dict[TopicPartition, int]:
        """Return the offsets that the readers' group committed."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.bootstrap_servers,
            group_id=self.settings.topic(GROUP),
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            await consumer.topics()
            name = self.settings.topic(Topic.EVENTS)
            partitions = [TopicPartition(name, number) for number in range(6)]
            consumer.assign(partitions)
            found = {p: await consumer.committed(p) for p in partitions}
            return {partition: offset for partition, offset in found.items() if offset}
        finally:
            await consumer.stop()


class Effects:
    """Handles batches by counting each event, in one transaction with the positions."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.batches = 0

    async def handle(self, batch: Batch) -> None:
        async with self.database.transaction() as conn:
            await conn.execute(_COUNT, [received.event.job_id for received in batch.events])
            await positions.save(conn, batch.progress)
        self.batches += 1

    async def counts(self) -> dict[str, int]:
        async with self.database.connection() as conn:
            rows = await conn.fetch("SELECT job_id, times FROM effects")
            return {row["job_id"]: row["times"] for row in rows}

    async def positions(self) -> dict[TopicPartition, int]:
        async with self.database.connection() as conn:
            rows = await conn.fetch("SELECT topic, partition, next_offset FROM positions")
            return {TopicPartition(r["topic"], r["partition"]): r["next_offset"] for r in rows}

    async def wait_for(self, *numbers: int, seconds: float = SECONDS) -> None:
        """Return when the event of each number was handled at least once."""
        await self.wait_for_jobs({make_job_id(number) for number in numbers}, seconds=seconds)

    async def wait_for_jobs(self, job_ids: Collection[str], *, seconds: float = SECONDS) -> None:
        """Return when an event of each job was handled at least once."""

        async def has_all() -> bool:
            try:
                return set(job_ids) <= set(await self.counts())
            except TRANSIENT_ERRORS:
                return False

        await poll_until(has_all, seconds=seconds)


class Reading:
    """A running reader."""

    def __init__(self, broker: KafkaBroker, connection: BusConnection, reader: LogReader) -> None:
        self.broker = broker
        self.connection = connection
        self.reader = reader

    async def wait_until_reading(self) -> None:
        async def is_reading() -> bool:
            return self.reader.is_reading

        await poll_until(is_reading, seconds=SECONDS)

    async def wait_until_taken(self, partition: TopicPartition, count: int) -> None:
        """Return when the first records of a partition were taken, handled or not."""
        consumer = self.reader._subscriber.consumer
        assert consumer is not None

        async def are_taken() -> bool:
            return bool(await consumer.position(partition) >= count)

        await poll_until(are_taken, seconds=SECONDS)


async def wait_until_committed(log: Log, effects: Effects) -> None:
    """Return when Kafka knows all that is stored: nothing that was handled is still under way."""

    async def is_committed() -> bool:
        return await log.committed() == await effects.positions()

    await poll_until(is_committed, seconds=SECONDS)


class StartReader(Protocol):
    def __call__(
        self,
        effects: Effects,
        *,
        times: ReaderTimes = TIMES,
        max_records: int = 1000,
        concerns: Callable[[ReceivedEvent], bool] | None = None,
        unhurried: Collection[type[JobEvent]] = (),
    ) -> AbstractAsyncContextManager[Reading]:
        """Run a reader of the events topic that hands its batches to `effects`."""


def reader_factory(settings: KafkaSettings, usual_times: ReaderTimes = TIMES) -> StartReader:
    @asynccontextmanager
    async def start(
        effects: Effects,
        *,
        times: ReaderTimes = usual_times,
        max_records: int = 1000,
        concerns: Callable[[ReceivedEvent], bool] | None = None,
        unhurried: Collection[type[JobEvent]] = (),
    ) -> AsyncIterator[Reading]:
        broker = make_broker(settings, service="test")
        connection = BusConnection(broker, settings)
        reader = LogReader(
            broker,
            topics=(Topic.EVENTS,),
            group=GROUP,
            settings=settings,
            database=effects.database,
            dead_letters=BusPublisher(broker, connection, settings),
            handle=effects.handle,
            metrics=ReaderMetrics(CollectorRegistry()),
            heartbeat=Heartbeat(limit=60.0),
            concerns=concerns,
            unhurried=unhurried,
            max_records=max_records,
            times=times,
        )
        try:
            async with running({"reader": read_when_connected(connection, reader)}):
                yield Reading(broker, connection, reader)
        finally:
            await connection.close()

    return start


@asynccontextmanager
async def counting_database(url: str) -> AsyncIterator[Effects]:
    async with open_database(
        patient_settings(url), schema="read_model", service="test"
    ) as database:
        async with database.transaction() as conn:
            await conn.execute(positions.CREATE_V1)
            await conn.execute(_CREATE_EFFECTS)
        yield Effects(database)


@pytest.fixture
async def log(kafka: Kafka, topic_prefix: str) -> Log:
    settings = kafka_settings(kafka, topic_prefix, patience=_PATIENCE)
    await ensure_topics(settings, timedelta(days=1))
    return Log(settings)


@pytest.fixture
async def local_log(local_kafka: LocalKafka, topic_prefix: str) -> Log:
    """A log on a broker that the test may kill."""
    settings = kafka_settings(local_kafka, topic_prefix, patience=_IMPATIENCE)
    await ensure_topics(settings, timedelta(days=1))
    return Log(settings)


@pytest.fixture
def start_reader(log: Log) -> StartReader:
    return reader_factory(log.settings)


@pytest.fixture
async def effects(database: DatabaseUrls) -> AsyncIterator[Effects]:
    async with counting_database(database.status_projector) as counting:
        yield counting
