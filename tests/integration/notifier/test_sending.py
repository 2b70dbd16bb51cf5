"""The sending loop against real receivers and a real PostgreSQL, crash by crash."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from standardwebhooks import Webhook

from notifier.client import ClientLimits
from notifier.domain import AttemptResult, NewDelivery, RetrySchedule
from notifier.service import Deliveries
from shared.callback import CallbackPolicy
from shared.database.pool import Database
from tests.integration.notifier.bench import (
    Answers,
    KeptMessages,
    a_sender,
    deliveries_on,
    expire_leases,
    hang,
    history,
    open_notifier_database,
    outbox_events,
    received,
    states,
    until,
)
from tests.integration.notifier.conftest import RULES, MakeDeliveries
from tests.support.servers import LocalPostgres
from tests.unit.notifier.samples import SECRET, delivery
from tests.unit.notifier.servers import RawServer, raw_server


async def take_in(deliveries: Deliveries, *webhooks: NewDelivery) -> None:
    await deliveries.take_in(webhooks, {})


async def test_receiver_that_fails_twice_and_then_answers_gets_one_webhook_id(
    make_deliveries: MakeDeliveries, notifier_database: Database
) -> None:
    second_apart = RetrySchedule((timedelta(0), timedelta(seconds=1.1), timedelta(0)), jitter=0)
    deliveries = make_deliveries(replace(RULES, schedule=second_apart))
    async with raw_server(Answers([500, 503, 200])) as server, a_sender(deliveries) as sender:
        webhook = delivery(server.url())
        await take_in(deliveries, webhook)
        sender.wake()
        await until(lambda: is_settled(notifier_database))
    requests = received(server)
    assert [request.headers["webhook-id"] for request in requests] == [webhook.webhook_id] * 3
    assert {request.body for request in requests} == {webhook.body}
    for request in requests:
        Webhook(SECRET).verify(request.body, request.headers)
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("report-jobs")
    timestamps = [request.headers["webhook-timestamp"] for request in requests]
    assert timestamps[0] < timestamps[1]
    assert await states(notifier_database) == {"delivered": 1}
    assert await history(notifier_database) == [
        (1, "status", 500),
        (2, "status", 503),
        (3, None, 200),
    ]


async def test_crash_after_the_claim_is_sent_again_with_the_same_id(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    async with raw_server(Answers([200])) as server:
        webhook = delivery(server.url())
        await take_in(deliveries, webhook)
        await deliveries.claim(1)
        await expire_leases(notifier_database)
        async with a_sender(deliveries):
            await until(lambda: is_settled(notifier_database))
        assert [r.headers["webhook-id"] for r in received(server)] == [webhook.webhook_id]
    assert await history(notifier_database) == [(1, "unknown", None), (2, None, 200)]


async def test_crash_between_sending_and_recording_repeats_the_same_webhook(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    class NeverRecorded:
        """Deliveries of a process that is killed before it records."""

        claim = deliveries.claim
        seconds_until_due = deliveries.seconds_until_due
        end_expired = deliveries.end_expired
        measure = deliveries.measure

        async def end(self, _: object) -> None:
            await asyncio.Event().wait()

    async with raw_server(Answers([200])) as server:
        webhook = delivery(server.url())
        await take_in(deliveries, webhook)
        async with a_sender(NeverRecorded()):  # type: ignore[arg-type] # the same, cut short
            await until(lambda: has_requests(server, 1))
        await expire_leases(notifier_database)
        async with a_sender(deliveries):
            await until(lambda: is_settled(notifier_database))
        first, second = received(server)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == webhook.webhook_id
    assert first.body == second.body
    assert await states(notifier_database) == {"delivered": 1}


async def test_slow_destination_does_not_delay_others(
    two_at_once: Deliveries, notifier_database: Database
) -> None:
    async with (
        raw_server(hang) as slow,
        raw_server(Answers([200])) as good,
        a_sender(two_at_once, slots=4) as sender,
    ):
        await take_in(two_at_once, *(delivery(slow.url()) for _ in range(1000)))
        sender.wake()
        await until(lambda: has_requests(slow, 2))
        await take_in(two_at_once, *(delivery(good.url()) for _ in range(50)))
        sender.wake()
        await until(lambda: has_requests(good, 50))
        assert len(slow.requests) == 2
        await until(lambda: is_settled(notifier_database, pending=998, in_flight=2))


async def test_strict_policy_never_calls_loopback_and_ends_visibly(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    async with (
        raw_server(Answers([200])) as server,
        a_sender(deliveries, policy=CallbackPolicy()) as sender,
    ):
        urls = [server.url(), f"http://localhost:{server.port}/", f"http://[::1]:{server.port}/"]
        await take_in(deliveries, *(delivery(url) for url in urls))
        sender.wake()
        await until(lambda: is_settled(notifier_database))
    assert server.requests == []
    assert await states(notifier_database) == {"exhausted": 3}
    assert set(await history(notifier_database)) == {
        (number, "refused_address", None) for number in (1, 2, 3)
    }
    reasons = [event["reason"] for event in await outbox_events(notifier_database)]
    assert reasons == ["refused_address"] * 3


async def test_events_are_handed_to_the_bus_once_committed(
    deliveries: Deliveries, published: KeptMessages, notifier_database: Database
) -> None:
    async with raw_server(Answers([200])) as server, a_sender(deliveries) as sender:
        await take_in(deliveries, delivery(server.url()))
        sender.wake()

        async def is_handed_over() -> bool:
            # The events go to the outbox a moment after their commit can be seen.
            await deliveries._outbox.drain()
            return bool(published.messages)

        await until(is_handed_over)
    (message,) = published.messages
    assert message.headers["ce_type"] == "report-jobs.WebhookDelivered.v1"
    assert await outbox_events(notifier_database) == []


async def test_drain_lets_what_is_under_way_end(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    may_answer = asyncio.Event()

    async def answer_late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with raw_server(answer_late) as server, a_sender(deliveries) as sender:
        await take_in(deliveries, delivery(server.url()))
        sender.wake()
        await until(lambda: has_requests(server, 1))
        draining = asyncio.create_task(sender.drain(20))
        may_answer.set()
        await draining
        await until(lambda: is_settled(notifier_database))
    assert await states(notifier_database) == {"delivered": 1}


async def test_drain_gives_back_what_does_not_end_in_time(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    async with raw_server(hang) as server:
        async with a_sender(deliveries, slots=1) as sender:
            await take_in(deliveries, delivery(server.url()))
            sender.wake()
            await until(lambda: has_requests(server, 1))
        # The loops have stopped and the sender was drained without a budget.
        await sender.record_rest()
    assert await states(notifier_database) == {"pending": 1}
    assert await history(notifier_database) == [(1, "unknown", None)]
    assert await deliveries.seconds_until_due() is not None


async def test_result_outlives_a_crash_of_the_database(local_postgres: LocalPostgres) -> None:
    may_answer = asyncio.Event()

    async def answer_late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with (
        local_postgres.create_database() as urls,
        open_notifier_database(urls) as opened,
        raw_server(answer_late) as server,
    ):
        deliveries = deliveries_on(opened, KeptMessages(), RULES)
        async with a_sender(deliveries) as sender:
            await take_in(deliveries, delivery(server.url()))
            sender.wake()
            await until(lambda: has_requests(server, 1))
            await local_postgres.kill()
            may_answer.set()
            await local_postgres.start()
            await until(lambda: is_settled(opened))
        assert await history(opened) == [(1, None, 204)]


async def test_nothing_waits_for_the_poll(
    make_deliveries: MakeDeliveries, notifier_database: Database
) -> None:
    soon = RetrySchedule((timedelta(0), timedelta(milliseconds=200)), jitter=0)
    deliveries = make_deliveries(replace(RULES, schedule=soon, per_destination=1))
    async with (
        raw_server(Answers([500, 200])) as server,
        a_sender(deliveries, slots=1, poll=1000) as sender,
    ):
        await take_in(deliveries, *(delivery(server.url()) for _ in range(3)))
        sender.wake()
        await until(lambda: is_settled(notifier_database))
        await take_in(deliveries, delivery(server.url()))
        sender.wake()
        await until(lambda: has_requests(server, 5))
        await until(lambda: is_settled(notifier_database))
    assert await states(notifier_database) == {"delivered": 4}


async def test_client_that_breaks_is_a_recorded_failure(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    class Broken:
        async def post(self, *_: object) -> AttemptResult:
            raise RuntimeError("a defect")

    async with a_sender(deliveries, posts=Broken()) as sender:
        await take_in(deliveries, delivery())
        sender.wake()
        await until(lambda: is_settled(notifier_database))
    assert await history(notifier_database) == [(n, "protocol", None) for n in (1, 2, 3)]


async def test_timeout_is_retried_by_the_schedule(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    quick = ClientLimits(total=0.2)
    async with raw_server(hang) as server, a_sender(deliveries, limits=quick) as sender:
        await take_in(deliveries, delivery(server.url()))
        sender.wake()
        await until(lambda: is_settled(notifier_database))
    assert await history(notifier_database) == [(n, "timeout", None) for n in (1, 2, 3)]


async def is_settled(database: Database, pending: int = 0, in_flight: int = 0) -> bool:
    found = await states(database)
    counts = (found.get("pending", 0), found.get("in_flight", 0))
    return bool(found) and counts == (pending, in_flight)


async def has_requests(server: RawServer, count: int) -> bool:
    return len(server.requests) >= count
