"""A broker that hangs under load: what can't be taken is refused at once, and nothing piles up."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from local_stack.polling import poll_until
from tests.integration.gateway.bench import ServedGateway, served_gateway
from tests.support.gateway import REQUEST
from tests.support.servers import LocalKafka, Postgres

_CLIENTS: Final = 200
_REQUESTS_PER_CLIENT: Final = 6
_PUBLISHING: Final = 40
_MEBIBYTES_OF_GROWTH: Final = 64
_PUBLISH_SECONDS: Final = 600
"""Longer than all refusals take on any machine, so that no place becomes free meanwhile."""
_SHED: Final = "More is under way than the service can take."


@pytest.fixture
async def gateway(
    local_kafka: LocalKafka, postgres: Postgres, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[ServedGateway]:
    limit = {
        "GATEWAY_MAX_PUBLISHING": str(_PUBLISHING),
        "KAFKA_PUBLISH_TIMEOUT": str(_PUBLISH_SECONDS),
        "KAFKA_REQUEST_TIMEOUT": str(2 * _PUBLISH_SECONDS),
    }
    async with (
        postgres.create_database() as database,
        served_gateway(local_kafka, database, topic_prefix, tmp_path, **limit) as served,
    ):
        yield served


def resident_mebibytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [resident] = (line for line in lines if line.startswith("VmRSS:"))
    return int(resident.split()[1]) / 1024


async def test_a_hanging_broker_costs_quick_refusals_and_no_memory(
    gateway: ServedGateway, local_kafka: LocalKafka
) -> None:
    outcomes: Counter[tuple[int, bool]] = Counter()
    limits = httpx.Limits(max_connections=_CLIENTS + 10)
    async with httpx.AsyncClient(
        base_url=gateway.url, timeout=_PUBLISH_SECONDS, limits=limits
    ) as client:

        async def submit_until_taken() -> None:
            for _ in range(_REQUESTS_PER_CLIENT):
                response = await client.post("/generate-report", json=REQUEST)
                is_shed = response.text.find(_SHED) >= 0
                outcomes[response.status_code, is_shed] += 1
                assert response.status_code in {202, 503}
                assert "retry-after" in response.headers
                if not is_shed:
                    return

        async def all_others_are_refused() -> bool:
            return outcomes[503, True] >= (_CLIENTS - _PUBLISHING) * _REQUESTS_PER_CLIENT

        assert (await client.post("/generate-report", json=REQUEST)).status_code == 202
        before = resident_mebibytes(gateway.pid)
        async with asyncio.TaskGroup() as clients:
            with local_kafka.frozen():
                for _ in range(_CLIENTS):
                    clients.create_task(submit_until_taken())
                # What needs no broker is answered all the while.
                for path in ("/livez", "/report-types", "/report-jobs"):
                    assert (await client.get(path)).status_code == 200
                await poll_until(all_others_are_refused, seconds=_PUBLISH_SECONDS / 2)
                grown = resident_mebibytes(gateway.pid) - before
    assert outcomes[202, False] == _PUBLISHING
    assert outcomes.keys() == {(503, True), (202, False)}
    assert grown < _MEBIBYTES_OF_GROWTH
