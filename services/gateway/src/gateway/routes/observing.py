"""ASGI middleware that counts and times requests by route template, and ends answers' heads."""

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import RequestMetrics

ANSWER_FIELDS: Final = "report_jobs.answer_fields"
"""Where in a request's scope a dependency leaves header fields for whatever the answer will be."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE: Final = "none"


def _encoded(fields: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    return ((name.encode(), value.encode()) for name, value in fields.items())


class ObservedRequests:
    """Wraps `app`. Labels come from our routes and a fixed list, never from a client."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                fields = scope.get(ANSWER_FIELDS)
                if fields:
                    message["headers"] = [*message.get("headers", ()), *_encoded(fields)]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            self._note(scope, status, perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        self._metrics.note(method, route, status, seconds)
