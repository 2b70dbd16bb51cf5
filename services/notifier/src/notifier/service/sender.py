"""The sending loop: claims what is due for the slots that are free, sends, records.

Nothing waits on a timer that an event could wake: new deliveries, a freed slot and the next due
time each start a claim. The poll only catches what another process left behind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog

from notifier.domain import Attempt, AttemptResult, ErrorClass
from notifier.service.deliveries import Deliveries, interrupted
from notifier.signing import SigningKey, signature_header
from shared.backoff import Backoff
from shared.clock import Clock
from shared.database.pool import TRANSIENT_ERRORS
from shared.telemetry.probes import Heartbeat

_log = structlog.get_logger()


class Posts(Protocol):
    """What the sender needs of an HTTP client: a result, whatever happens, within a deadline."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        """POST `body` to `url` once."""
        ...


@dataclass(frozen=True, slots=True)
class SenderTimes:
    """All in seconds."""

    poll: float = 5.0
    """The longest sleep of the loop, and how often expired leases are looked for."""
    shortest_sleep: float = 0.05
    """Before asking again for what is due but held by another process at this moment."""
    retry: Backoff = field(default_factory=lambda: Backoff(first=0.1, longest=5.0))


class Sender:
    """Sends with up to `slots` attempts at once; an attempt's slot is free once it is recorded."""

    def __init__(
        self,
        deliveries: Deliveries,
        client: Posts,
        keys: tuple[SigningKey, ...],
        *,
        slots: int,
        clock: Clock,
        heartbeat: Heartbeat,
        times: SenderTimes | None = None,
    ) -> None:
        self._deliveries = deliveries
        self._client = client
        self._keys = keys
        self._free = slots
        self._clock = clock
        self._heartbeat = heartbeat
        self._times = times or SenderTimes()
        self._wake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], Attempt] = {}
        self._ended: list[tuple[Attempt, AttemptResult]] = []
        self._has_ended = asyncio.Event()

    def wake(self) -> None:
        """Look for what is due now."""
        self._wake.set()

    async def run(self) -> None:
        """Claim and send for ever."""
        while True:
            self._heartbeat.beat()
            self._wake.clear()
            sleep = await self._tried(self._fill_slots)
            await self._sleep(self._times.poll if sleep is None else sleep)

    async def run_recorder(self) -> None:
        """Record results for ever: each transaction takes all that arrived during the last."""
        while True:
            await self._has_ended.wait()
            self._has_ended.clear()
            await self._record()

    async def run_reaper(self) -> None:
        """End attempts that other notifiers left behind, and measure the backlog."""
        while True:
            await self._tried(self._reap)
            await asyncio.sleep(self._times.poll)

    async def drain(self, budget: float) -> None:
        """Let what is under way end within `budget` seconds, then give the rest back.

        Call when `run` has stopped and the recorder still runs.
        """
        if self._sending:
            await asyncio.wait(self._sending, timeout=budget)
        under_way = dict(self._sending)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for task, attempt in under_way.items():
            if task.cancelled():
                self._finish(attempt, interrupted())

    async def record_rest(self) -> None:
        """Record what is left when the recorder has stopped; else its lease runs out."""
        if not self._ended:
            return
        try:
            await self._deliveries.end(self._ended)
        except TRANSIENT_ERRORS as error:
            _log.warning(
                "webhook attempts left to their leases",
                error=type(error).__name__,
                count=len(self._ended),
            )

    async def _fill_slots(self) -> float:
        """Claim for all free slots; return for how many seconds there is nothing more to claim."""
        while self._free > 0:
            attempts = await self._deliveries.claim(self._free)
            for attempt in attempts:
                self._start(attempt)
            if not attempts:
                due_in = await self._deliveries.seconds_until_due()
                return self._times.poll if due_in is None else due_in
        return self._times.poll  # a slot that becomes free wakes the loop

    async def _reap(self) -> float:
        ours = [a.token for a in self._sending.values()] + [a.token for a, _ in self._ended]
        if await self._deliveries.end_expired(alive=ours):
            self.wake()
        await self._deliveries.measure()
        return 0

    async def _sleep(self, seconds: float) -> None:
        longest = min(max(seconds, self._times.shortest_sleep), self._times.poll)
        try:
            async with asyncio.timeout(longest):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _tried(self, step: Callable[[], Awaitable[float]]) -> float | None:
        """Run one step of a loop; a database that is away is tried again at the next poll."""
        try:
            return await step()
        except TRANSIENT_ERRORS as error:
            _log.warning("webhook queue not reachable", error=type(error).__name__)
            return None

    def _start(self, attempt: Attempt) -> None:
        self._free -= 1
        task = asyncio.create_task(self._send(attempt), name=f"send {attempt.webhook_id}")
        self._sending[task] = attempt
        task.add_done_callback(self._sending.pop)

    async def _send(self, attempt: Attempt) -> None:
        timestamp = int(self._clock().timestamp())
        headers = {
            "content-type": "application/json",
            "webhook-id": attempt.webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature_header(
                self._keys, attempt.webhook_id, timestamp, attempt.body
            ),
        }
        try:
            result = await self._client.post(attempt.url, headers, attempt.body)
        except Exception:  # noqa: BLE001 - no attempt may end unrecorded
            # Whatever a peer provokes must end as a recorded attempt: a delivery that is neither
            # recorded nor retried by the schedule would be sent again with every lease.
            _log.exception("webhook attempt broke", webhook_id=attempt.webhook_id)
            result = AttemptResult(ErrorClass.PROTOCOL, timedelta(0), detail="internal error")
        self._finish(attempt, result)

    def _finish(self, attempt: Attempt, result: AttemptResult) -> None:
        self._ended.append((attempt, result))
        self._has_ended.set()

    async def _record(self) -> None:
        """Record what has ended, again and again until it works, then free the slots.

        Results leave the list only once they are recorded, so a cancelled recorder loses none.
        """
        failures = 0
        while self._ended:
            results = list(self._ended)
            try:
                await self._deliveries.end(results)
            except TRANSIENT_ERRORS as error:
                failures += 1
                _log.warning(
                    "webhook results put off", error=type(error).__name__, count=len(results)
                )
                await asyncio.sleep(self._times.retry.delay(failures))
            else:
                failures = 0
                del self._ended[: len(results)]
                self._free += len(results)
                self.wake()
