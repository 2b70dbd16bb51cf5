"""Liveness, readiness and metrics over HTTP, the same in every service.

Liveness asks only whether the service's own loops make progress: a broker or database that is
away must not get a healthy process killed. Readiness asks what it depends on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Check = Callable[[], Awaitable[None]]
"""Raises when what it checks isn't there."""

_CHECK_TIMEOUT: Final = 3.0


class Heartbeat:
    """The last sign of life of one loop; `limit` is how many seconds of silence mean it hangs."""

    def __init__(self, *, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """Say that the loop goes round."""
        self._last = self._clock()

    @property
    def is_alive(self) -> bool:
        """Whether the last beat is recent enough."""
        return self._clock() - self._last <= self._limit


def probe_routes(
    *,
    heartbeats: Mapping[str, Heartbeat],
    checks: Mapping[str, Check],
    registry: CollectorRegistry,
) -> list[Route]:
    """Return the routes /livez, /readyz and /metrics."""

    async def livez(_request: Request) -> Response:
        silent = sorted(name for name, heartbeat in heartbeats.items() if not heartbeat.is_alive)
        return JSONResponse({"silent": silent}, status_code=503 if silent else 200)

    async def readyz(_request: Request) -> Response:
        results = await asyncio.gather(*(_failure(check) for check in checks.values()))
        missing = {name: why for name, why in zip(checks, results, strict=True) if why}
        return JSONResponse({"missing": missing}, status_code=503 if missing else 200)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/livez", livez, include_in_schema=False),
        Route("/readyz", readyz, include_in_schema=False),
        Route("/metrics", metrics, include_in_schema=False),
    ]


async def _failure(check: Check) -> str | None:
    """Return the class of the failure only: its text may name hosts or users."""
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):
            await check()
    except Exception as error:  # noqa: BLE001 - whatever it raises, the answer is "not ready"
        return type(error).__name__
    return None
