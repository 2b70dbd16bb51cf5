"""Raw limits of this machine's Kafka and PostgreSQL, through the clients that the services use.

Taken again and again without a pause, a step finds everything warm: code and data in the
processors' caches, processes awake. At the pace of single jobs nothing is, and it takes a multiple.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.errors import BenchmarkError
from benchmarks.samples import Summary
from benchmarks.stack import Stack

_SECONDS: Final = 2.0
_LEAST: Final = 100
_TOPIC: Final = "bench.limits"
_RECORD: Final = b"x" * 600
"""About as long as an event."""
_CREATE: Final = """
CREATE TABLE bench_commits (id bigserial PRIMARY KEY, value bytea NOT NULL);
INSERT INTO bench_commits (value) VALUES (convert_to(repeat('x', 600), 'UTF8'))
"""
_READ: Final = "SELECT id, value FROM bench_commits WHERE id = 1"
_EMPTY: Final = "BEGIN READ ONLY; SELECT 1 WHERE false; ROLLBACK"
_INSERT: Final = "INSERT INTO bench_commits (value) VALUES ($1)"
_DROP: Final = "DROP TABLE bench_commits"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each raw step takes, one after the other, while nothing else runs.

    `pause` is how many seconds were between two.
    """

    pause: float

    durable_commit: Summary
    """One row inserted and on the disk."""
    asynchronous_commit: Summary
    """One row inserted, the disk not waited for."""
    row_read: Summary
    """One row read by its key."""
    empty_query: Summary
    """A read-only transaction of a query without rows, in one round trip."""
    database_session: Summary
    """Connect with a password, ask one question, close."""
    acknowledged_send: Summary
    """One record, `acks=all`, acknowledged."""
    log_passage: Summary
    """One record from a producer to a consumer that waits for it."""
    process_exchange: Summary
    """Some bytes to a process that waits for them, and back."""
    file: Summary
    """A small file in three new folders, written beside its place and renamed."""


async def measure_limits(stack: Stack, pause: float = 0.0) -> Limits:
    """Take each step again and again, with a pause of so many seconds after each."""

    async def repeated(step: Callable[[], Awaitable[object]]) -> Summary:
        return await measure_step(step, pause)

    connection = await asyncpg.connect(stack.database)
    try:
        await connection.execute(_CREATE)
        row_read = await repeated(lambda: connection.fetchrow(_READ))
        empty_query = await repeated(lambda: connection.execute(_EMPTY))
        durable = await repeated(lambda: connection.execute(_INSERT, _RECORD))
        await connection.execute("SET synchronous_commit = off")
        asynchronous = await repeated(lambda: connection.execute(_INSERT, _RECORD))
        await connection.execute(_DROP)
    finally:
        await connection.close()
    async with _topic(stack.kafka) as (producer, consumer), _echo() as exchange:
        return Limits(
            pause=pause,
            durable_commit=durable,
            asynchronous_commit=asynchronous,
            row_read=row_read,
            empty_query=empty_query,
            database_session=await repeated(lambda: _session(stack.database)),
            acknowledged_send=await repeated(lambda: producer.send_and_wait(_TOPIC, _RECORD)),
            log_passage=await repeated(await _passage(producer, consumer)),
            process_exchange=await repeated(exchange),
            file=await _measure_file(stack.directory.root / "limits", repeated),
        )


async def measure_step(step: Callable[[], Awaitable[object]], pause: float = 0.0) -> Summary:
    """Take a step for some seconds; the pauses between, in seconds, make it no fewer than 100."""
    taken: list[float] = []
    until = time.perf_counter() + max(_SECONDS, _LEAST * pause)
    while (began := time.perf_counter()) < until:
        await step()
        taken.append(time.perf_counter() - began)
        if pause:
            await asyncio.sleep(pause)
    return Summary.of(taken)


@asynccontextmanager
async def _echo() -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Start a process that says what it is told; give what asks it once."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
    to, back = process.stdin, process.stdout
    if to is None or back is None:
        raise BenchmarkError("a process has no pipes")

    async def exchange() -> None:
        to.write(_RECORD)
        await back.readexactly(len(_RECORD))

    try:
        yield exchange
    finally:
        to.close()
        await process.wait()


async def _measure_file(
    folder: Path, repeated: Callable[[Callable[[], Awaitable[object]]], Awaitable[Summary]]
) -> Summary:
    numbers = count()

    async def write() -> None:
        place = folder / f"job-{next(numbers)}" / "1" / "1"
        place.mkdir(parents=True)
        (place / "report.part").write_bytes(_RECORD)
        (place / "report.part").rename(place / "report")

    try:
        return await repeated(write)
    finally:
        shutil.rmtree(folder)


async def _session(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.fetchval("SELECT 1")
    await connection.close()


async def _passage(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer
) -> Callable[[], Awaitable[None]]:
    await consumer.seek_to_end()
    await consumer.position(TopicPartition(_TOPIC, 0))

    async def passage() -> None:
        await producer.send(_TOPIC, _RECORD)
        await consumer.getone()
        # The consumer's next request for records is on its way before the next record is.
        await asyncio.sleep(0)

    return passage


@asynccontextmanager
async def _topic(servers: str) -> AsyncIterator[tuple[AIOKafkaProducer, AIOKafkaConsumer]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0)
    consumer = AIOKafkaConsumer(bootstrap_servers=servers)
    try:
        await admin.start()
        await admin.create_topics([NewTopic(_TOPIC, num_partitions=1, replication_factor=1)])
        await producer.start()
        consumer.assign([TopicPartition(_TOPIC, 0)])
        await consumer.start()
        yield producer, consumer
        await admin.delete_topics([_TOPIC])
    finally:
        await consumer.stop()
        await producer.stop()
        await admin.close()
