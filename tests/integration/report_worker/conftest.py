"""Fixtures of the report-worker's integration tests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from report_worker.app import MIGRATIONS, SCHEMA
from shared.database.migrations import migrate
from tests.integration.report_worker.queue_bench import QueueBench, queue_bench
from tests.support.report_worker import Gate, WorkerBench, worker_bench
from tests.support.servers import DatabaseUrls, Kafka, Postgres

CLOSED_PORT = "postgresql://reader:s3cret@127.0.0.1:9/none"


@pytest.fixture
async def bench(
    kafka: Kafka, database: DatabaseUrls, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[WorkerBench]:
    """Workers on a database of the test's own, which is also the source of their reports."""
    async with worker_bench(
        tmp_path,
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=topic_prefix,
        database_url=database.report_worker,
        sources={"orders": database.report_source, "away": CLOSED_PORT},
    ) as bench:
        yield bench


@pytest.fixture
async def gate(database: DatabaseUrls) -> AsyncIterator[Gate]:
    """The closed gate of GATED reports."""
    async with Gate.closed(database.admin) as gate:
        yield gate


@pytest.fixture(scope="session")
async def _migrated(postgres: Postgres) -> AsyncIterator[DatabaseUrls]:
    async with postgres.create_database() as urls:
        await asyncio.to_thread(migrate, urls.report_worker, schema=SCHEMA, directory=MIGRATIONS)
        yield urls


@pytest.fixture
async def runs(_migrated: DatabaseUrls) -> AsyncIterator[QueueBench]:
    """The worker's empty schema and queues on it."""
    async with queue_bench(_migrated) as bench:
        yield bench
        async with bench.database.connection() as conn:
            await conn.execute("TRUNCATE runs, outbox, positions")
