"""The real gateway application in this process, on a real broker and a real database."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.bench import Bench, configure, open_bench, prepare
from tests.support.servers import DatabaseUrls, Kafka


@pytest.fixture
async def bench(
    kafka: Kafka,
    database: DatabaseUrls,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Bench]:
    """A gateway that is connected, with topics and tables of its own."""
    configure(monkeypatch, kafka.bootstrap_servers, database, topic_prefix, tmp_path)
    await prepare(database)
    async with open_bench(kafka.bootstrap_servers, database, topic_prefix, tmp_path) as bench:
        yield bench


@pytest.fixture
def client(bench: Bench) -> httpx.AsyncClient:
    return bench.client
