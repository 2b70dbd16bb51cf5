"""Probes: liveness asks the loops alone, readiness what they depend on, neither tells secrets."""

import asyncio

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette

from shared.telemetry import probes
from shared.telemetry.probes import Check, Heartbeat, probe_routes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def passes() -> None:
    """Find nothing missing."""


async def fails() -> None:
    raise ConnectionError("postgresql://user:password@host/db is away")


async def hangs() -> None:
    await asyncio.Event().wait()


async def get(
    path: str,
    *,
    heartbeats: dict[str, Heartbeat] | None = None,
    checks: dict[str, Check] | None = None,
    registry: CollectorRegistry | None = None,
) -> httpx.Response:
    routes = probe_routes(
        heartbeats=heartbeats or {}, checks=checks or {}, registry=registry or CollectorRegistry()
    )
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://probes") as client:
        return await client.get(path)


async def test_service_whose_loops_beat_is_alive_whatever_is_missing() -> None:
    answer = await get(
        "/livez", heartbeats={"reader": Heartbeat(limit=10)}, checks={"database": fails}
    )

    assert (answer.status_code, answer.json()) == (200, {"silent": []})


async def test_silent_loop_is_named() -> None:
    clock = Clock()
    heartbeats = {"beat": Heartbeat(limit=10, clock=clock), "reader": Heartbeat(limit=10)}
    clock.now = 10.5

    answer = await get("/livez", heartbeats=heartbeats)

    assert (answer.status_code, answer.json()) == (503, {"silent": ["beat"]})


async def test_loop_that_beats_again_is_alive_again() -> None:
    clock = Clock()
    heartbeat = Heartbeat(limit=10, clock=clock)
    clock.now = 11
    assert not heartbeat.is_alive

    heartbeat.beat()

    assert heartbeat.is_alive


async def test_ready_when_nothing_is_missing() -> None:
    answer = await get("/readyz", checks={"database": passes, "kafka": passes})

    assert (answer.status_code, answer.json()) == (200, {"missing": {}})


async def test_what_is_missing_is_named_by_its_class_alone() -> None:
    answer = await get("/readyz", checks={"database": fails, "kafka": passes})

    assert (answer.status_code, answer.json()) == (
        503,
        {"missing": {"database": "ConnectionError"}},
    )


async def test_check_that_hangs_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_CHECK_TIMEOUT", 0.01)

    answer = await get("/readyz", checks={"kafka": hangs})

    assert answer.json() == {"missing": {"kafka": "TimeoutError"}}


async def test_metrics_are_those_of_the_registry() -> None:
    registry = CollectorRegistry()
    Counter("report_jobs_things", "Things", registry=registry).inc(3)

    answer = await get("/metrics", registry=registry)

    assert answer.headers["content-type"].startswith("text/plain")
    assert "report_jobs_things_total 3.0" in answer.text
