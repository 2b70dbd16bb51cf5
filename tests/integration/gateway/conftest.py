"""The real gateway application in this process, on a real broker and a real database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.integration.gateway.bench import Bench, OpenBench, configure, open_bench, prepare
from tests.integration.gateway.live import LONG, Live, open_live
from tests.support.servers import DatabaseUrls, Kafka


@pytest.fixture
def bench_with(
    kafka: Kafka,
    database: DatabaseUrls,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> OpenBench:
    """What runs a gateway with settings of a test's own."""

    @asynccontextmanager
    async def opened(**settings: str) -> AsyncIterator[Bench]:
        configure(monkeypatch, kafka.bootstrap_servers, database, topic_prefix, tmp_path)
        for name, value in settings.items():
            monkeypatch.setenv(f"GATEWAY_{name}", value)
        await prepare(database)
        async with open_bench(kafka.bootstrap_servers, database, topic_prefix, tmp_path) as bench:
            yield bench

    return opened


@pytest.fixture
async def bench(bench_with: OpenBench) -> AsyncIterator[Bench]:
    """A gateway that is connected, with topics and tables of its own."""
    async with bench_with() as bench:
        yield bench


@pytest.fixture
def client(bench: Bench) -> httpx.AsyncClient:
    return bench.client


PATIENCE: Final = {"STREAM_QUIET": "0.2", "CLIENT_TIMEOUT": "60", "LONGEST_WAIT": LONG}


@pytest.fixture
async def live(
    request: pytest.FixtureRequest,
    kafka: Kafka,
    database: DatabaseUrls,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Live]:
    """A gateway that is served over HTTP; a test may change its `PATIENCE`."""
    configure(monkeypatch, kafka.bootstrap_servers, database, topic_prefix, tmp_path)
    for name, value in {**PATIENCE, **getattr(request, "param", {})}.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)
    await prepare(database)
    async with open_live(kafka.bootstrap_servers, database, topic_prefix, tmp_path) as live:
        yield live
