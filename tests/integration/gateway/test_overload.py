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
_SHED: Final = "More is under way than the service can take."


@pytest.fixture
async def gateway(
    local_kafka: LocalKafka, postgres: Postgres, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[ServedGateway]:
    limit = {"GATEWAY_MAX_PUBLISHING": str(_PUBLISHING)}
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
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, limits=limits) as client:

        async def submit_again_and_again() -> None:
            for _ in range(_REQUESTS_PER_CLIENT):
                response = await client.post("/generate-report", json=REQUEST)
                is_shed = response.text.find(_SHED) >= 0
                outcomes[response.status_code, is_shed] += 1
                assert response.status_code in {202, 503}
                assert "retry-after" in response.headers

        assert (await client.post("/generate-report", json=REQUEST)).status_code == 202
        before = resident_mebibytes(gateway.pid)
        with local_kafka.frozen():
            async with asyncio.TaskGroup() as clients:
                for _ in range(_CLIENTS):
                    clients.create_task(submit_again_and_again())
                # What needs no broker is answered all the while.
                for path in ("/livez", "/report-types", "/report-jobs"):
                    assert (await client.get(path)).status_code == 200
        grown = resident_mebibytes(gateway.pid) - before

        async def is_accepted() -> bool:
            response = await client.post("/generate-report", json=REQUEST)
            return response.status_code == 202

        await poll_until(is_accepted, seconds=60)
    assert sum(outcomes.values()) == _CLIENTS * _REQUESTS_PER_CLIENT
    assert outcomes[503, True] > outcomes[503, False]
    assert grown < _MEBIBYTES_OF_GROWTH
