"""Which events become deliveries."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from notifier.domain import NewDelivery
from notifier.handlers import EventsHandler
from notifier.service import Deliveries
from shared.bus import Batch
from shared.database.positions import Advance, Progress
from shared.events import JobStarted, ReceivedEvent, event_id, webhook_id
from tests.unit.notifier.samples import CREATED_AT, LINKS, RETENTION, completed, failed

POSITIONS = {TopicPartition("events", 0): Advance(follows=6, next_offset=7)}


class KnownDeliveries:
    """Keeps what it is given; each event counts as new once."""

    def __init__(self) -> None:
        self.taken: list[NewDelivery] = []
        self.positions: list[Progress] = []

    async def take_in(self, deliveries: Sequence[NewDelivery], progress: Progress) -> int:
        known = {delivery.event_id for delivery in self.taken}
        new = [delivery for delivery in deliveries if delivery.event_id not in known]
        self.taken += new
        self.positions.append(progress)
        return len(new)


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def known() -> KnownDeliveries:
    return KnownDeliveries()


@pytest.fixture
def wakes() -> Wakes:
    return Wakes()


@pytest.fixture
def handler(known: KnownDeliveries, wakes: Wakes) -> EventsHandler:
    return EventsHandler(cast("Deliveries", known), LINKS, RETENTION, lambda: CREATED_AT, wakes)


def batch(*events: Any) -> Batch:
    received = [ReceivedEvent(event, str(event_id(event)), "", "00-trace") for event in events]
    return Batch(events=received, invalid=[], progress=POSITIONS)


async def test_end_of_a_run_becomes_a_delivery_and_wakes_the_sender(
    handler: EventsHandler, known: KnownDeliveries, wakes: Wakes
) -> None:
    event = completed("https://X.com/hook?a=b", tenant="acme")
    await handler.handle(batch(event, failed("http://[::1]:9000/")))
    first, second = known.taken
    assert (first.event_id, first.webhook_id) == (event_id(event), webhook_id(event_id(event)))
    assert (first.url, first.origin) == ("https://X.com/hook?a=b", "https://x.com:443")
    assert (first.job.job_id, first.job.tenant, first.job.traceparent) == (
        event.job_id,
        "acme",
        "00-trace",
    )
    assert second.origin == "http://[::1]:9000"
    assert (wakes.count, known.positions) == (1, [POSITIONS])


def started() -> JobStarted:
    about: dict[str, Any] = completed(None).model_dump()
    return JobStarted.model_validate(about | {"started_at": CREATED_AT, "worker": "w"})


@pytest.mark.parametrize(
    "event", [completed(None), failed(None), started()], ids=lambda event: type(event).__name__
)
async def test_other_events_only_move_the_position(
    event: Any, handler: EventsHandler, known: KnownDeliveries, wakes: Wakes
) -> None:
    await handler.handle(batch(event))
    assert (known.taken, known.positions, wakes.count) == ([], [POSITIONS], 0)


async def test_webhook_of_a_job_that_is_too_old_is_not_sent_again(
    known: KnownDeliveries, wakes: Wakes
) -> None:
    after = CREATED_AT + RETENTION + timedelta(seconds=1)
    handler = EventsHandler(cast("Deliveries", known), LINKS, RETENTION, lambda: after, wakes)
    await handler.handle(batch(completed("https://x.com/")))
    assert (known.taken, known.positions, wakes.count) == ([], [POSITIONS], 0)


async def test_event_that_comes_again_wakes_nobody(
    handler: EventsHandler, known: KnownDeliveries, wakes: Wakes
) -> None:
    event = completed("https://x.com/")
    await handler.handle(batch(event))
    await handler.handle(batch(event))
    assert (len(known.taken), wakes.count) == (1, 1)


@pytest.mark.parametrize("url", ["http://u:p@x.com/", "\x00", "http://metadata/", "x" * 5000])
async def test_url_that_the_gateway_would_refuse_still_becomes_a_delivery(
    url: str, handler: EventsHandler, known: KnownDeliveries
) -> None:
    await handler.handle(batch(completed(url)))
    assert known.taken[0].origin == "unreadable"
