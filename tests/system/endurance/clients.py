"""Clients that don't give up: what is answered with 503, or not at all, they ask for again."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from shared.backoff import Backoff
from tests.support.client import ENDED
from tests.support.receiver import Endpoint, Receiver
from tests.system.catalogue import request
from tests.system.endurance.plans import Plan, Then

LIFE: Final = 600.0
"""Seconds after which a client gives up, far more than it needs: the busier the machine, the longer
the queue that the disturbances leave."""

_TIMEOUT: Final = ClientTimeout(total=6)
_BETWEEN_LOOKS: Final = 0.5
_UNAVAILABLE: Final = 503
_CONFLICT: Final = 409


@dataclass(slots=True)
class Promises:
    """What the gateways said."""

    accepted: set[str] = field(default_factory=set)
    """The jobs that were answered with 202."""
    deleted: set[str] = field(default_factory=set)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    """The callbacks by URL."""
    refused: int = 0
    """How often it was unknown whether a request was taken."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway said."""

    status: int
    body: bytes

    @property
    def job(self) -> dict[str, Any]:
        """The job that it tells of."""
        document: dict[str, Any] = json.loads(self.body)
        return document


class Clients:
    """Live by their plans, each against whichever gateway answers."""

    def __init__(self, gateways: Sequence[ClientSession], receiver: Receiver) -> None:
        self._gateways = gateways
        self._receiver = receiver
        self.promises = Promises()

    async def live(self, plan: Plan) -> None:
        """Submit one job, and do with it what is planned."""
        wanted, headers = self._request(plan), _key(plan)
        job = await self._submit(plan, wanted, headers)
        match plan.then:
            case Then.REPLAY if plan.key is not None:
                assert await self._submit(plan, wanted, headers) == job
            case Then.CANCEL:
                await asyncio.sleep(plan.wait)
                await self._ask(plan, "POST", f"/report-jobs/{job}/cancel", {202, 409})
            case Then.RETRY:
                if await self._ended(plan, job) == "FAILED":
                    await self._ask(plan, "POST", f"/report-jobs/{job}/retry", {202, 409})
            case Then.DELETE:
                await self._delete(plan, job)

    async def ask_for_nonsense(self, number: int) -> None:
        """Submit what no gateway takes."""
        nonsense = request("ORDERS_SUMMARY", format="PAPYRUS", number=number)
        await self._sent(number, "POST", "/generate-report", {400, 422}, json=nonsense)

    def _request(self, plan: Plan) -> dict[str, Any]:
        fields = dict(plan.fields)
        if plan.webhook is not None:
            endpoint = self._receiver.endpoint(*plan.webhook)
            self.promises.endpoints[endpoint.url] = endpoint
            fields["callbackUrl"] = endpoint.url
        return request(fields.pop("reportType"), **fields)

    async def _submit(self, plan: Plan, wanted: object, headers: Mapping[str, str]) -> str:
        answer = await self._sent(
            plan.number, "POST", "/generate-report", {202}, json=wanted, headers=headers
        )
        job_id: str = answer.job["jobId"]
        self.promises.accepted.add(job_id)
        return job_id

    async def _delete(self, plan: Plan, job: str) -> None:
        """Delete a job that has ended; a read model that lost its last moments may not know."""
        status = _CONFLICT
        while status == _CONFLICT:
            await self._ended(plan, job)
            status = await self._ask(plan, "DELETE", f"/report-jobs/{job}", {202, 204, 409, 410})
        self.promises.deleted.add(job)

    async def _ended(self, plan: Plan, job: str) -> str:
        """Return how the job ended, once it has; it is never missing."""
        deadline = time.monotonic() + LIFE
        while True:
            answer = await self._sent(plan.number, "GET", f"/report-jobs/{job}", {200})
            status: str = answer.job["status"]
            if status in ENDED:
                return status
            assert time.monotonic() < deadline, f"after {LIFE:g} s {job} is still {status}"
            await asyncio.sleep(_BETWEEN_LOOKS)

    async def _ask(self, plan: Plan, method: str, path: str, wanted: Collection[int]) -> int:
        return (await self._sent(plan.number, method, path, wanted)).status

    async def _sent(
        self, number: int, method: str, path: str, wanted: Collection[int], **more: Any
    ) -> Answer:
        """Send a request until it has one of these answers; gateways take turns."""
        backoff, tries, deadline = Backoff(first=0.2, longest=5.0), 0, time.monotonic() + LIFE
        while True:
            gateway = self._gateways[(number + tries) % len(self._gateways)]
            tries += 1
            answer = await _answer(gateway, method, path, **more)
            if answer is not None:
                if answer.status in wanted:
                    return answer
                assert answer.status == _UNAVAILABLE, f"{method} {path}: {answer}"
            assert time.monotonic() < deadline, f"{method} {path} after {LIFE:g} s: {answer}"
            self.promises.refused += 1
            await asyncio.sleep(backoff.delay(tries))


async def _answer(gateway: ClientSession, method: str, path: str, **more: Any) -> Answer | None:
    try:
        async with gateway.request(method, path, **more) as response:
            return Answer(response.status, await response.read())
    except (ClientError, TimeoutError):
        return None


def _key(plan: Plan) -> dict[str, str]:
    return {} if plan.key is None else {"idempotency-key": f'"{plan.key}"'}


@asynccontextmanager
async def clients(urls: Sequence[str], receiver: Receiver) -> AsyncIterator[Clients]:
    """Let clients know the gateways during the body."""
    async with AsyncExitStack() as cleanup:
        gateways = [
            await cleanup.enter_async_context(ClientSession(base_url=url, timeout=_TIMEOUT))
            for url in urls
        ]
        yield Clients(gateways, receiver)
