"""A webhook receiver as a client would run it, on a loopback port, with scripted answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from local_stack.ports import LOOPBACK

NEVER: Final = 0
"""In a script: take the request and don't answer it."""

_OK: Final = 204
_CONDITION_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """One request as it came in. Header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes
    is_verified: bool
    """Whether `standardwebhooks` accepts the signature."""

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def job_id(self) -> str:
        job_id: str = self.payload["jobId"]
        return job_id


@dataclass(slots=True)
class Endpoint:
    """One callback URL: what it answers, in order, the last answer for ever; what it was sent."""

    url: str
    script: tuple[int, ...]
    received: list[ReceivedWebhook] = field(default_factory=list)
    arrival: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(
        self,
        condition: Callable[[list[ReceivedWebhook]], bool],
        *,
        seconds: float = _CONDITION_SECONDS,
    ) -> list[ReceivedWebhook]:
        """Return what was received once `condition` holds of it."""
        async with asyncio.timeout(seconds), self.arrival:
            await self.arrival.wait_for(lambda: condition(self.received))
        return list(self.received)

    async def wait_for_count(
        self, least: int, *, seconds: float = _CONDITION_SECONDS
    ) -> list[ReceivedWebhook]:
        """Return what was received once it is `least` requests or more."""
        return await self.wait_for(lambda received: len(received) >= least, seconds=seconds)

    async def take(self, webhook: ReceivedWebhook) -> int:
        """Keep a request; return what to answer."""
        async with self.arrival:
            answer = self.script[min(len(self.received), len(self.script) - 1)]
            self.received.append(webhook)
            self.arrival.notify_all()
        return answer


class Receiver:
    """Hands out endpoints of one server. All of them are one destination to the notifier."""

    def __init__(self, verifier: Webhook) -> None:
        self._verifier = verifier
        self._numbers = count(1)
        self._endpoints: dict[str, Endpoint] = {}
        self._closing = asyncio.Event()
        self.base_url = ""

    def endpoint(self, *script: int) -> Endpoint:
        """Open a new URL that answers with the statuses of `script`; without one, always 204."""
        path = f"/hooks/{next(self._numbers)}"
        self._endpoints[path] = Endpoint(self.base_url + path, script or (_OK,))
        return self._endpoints[path]

    def stop_holding(self) -> None:
        """Let go of the requests that were never to be answered."""
        self._closing.set()

    async def handle(self, request: web.Request) -> web.Response:
        """Take one request."""
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            return web.Response(status=404)
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        status = await endpoint.take(ReceivedWebhook(headers, body, self._accepts(headers, body)))
        if status == NEVER:
            await self._closing.wait()
        return web.Response(status=status or 503)

    def _accepts(self, headers: dict[str, str], body: bytes) -> bool:
        try:
            self._verifier.verify(body, headers)
        except WebhookVerificationError:
            return False
        return True


@asynccontextmanager
async def run_receiver(signing_secret: str) -> AsyncIterator[Receiver]:
    """Run a receiver while the body runs; `signing_secret` is what it verifies with (whsec_...)."""
    receiver = Receiver(Webhook(signing_secret))
    application = web.Application()
    application.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        receiver.base_url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
        yield receiver
    finally:
        receiver.stop_holding()
        await runner.cleanup()
