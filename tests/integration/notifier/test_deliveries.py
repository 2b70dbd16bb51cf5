"""The life of a delivery in a real PostgreSQL: claims, leases, records, fairness."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from aiokafka import TopicPartition

from notifier.domain import Attempt, AttemptResult, RetrySchedule
from notifier.service import Deliveries
from shared.database import positions
from shared.database.pool import Database
from shared.database.positions import Advance, PositionsLostError, Progress
from tests.integration.notifier.bench import (
    PATIENCE,
    KeptMessages,
    expire_leases,
    failure,
    history,
    ok,
    outbox_events,
    states,
)
from tests.integration.notifier.conftest import RULES, MakeDeliveries
from tests.unit.notifier.samples import delivery

NO_POSITION: Progress = {}


async def test_webhook_is_stored_once_together_with_the_position(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    partition = TopicPartition("report-jobs.events.v1", 3)
    one, two = delivery(), delivery()
    assert await deliveries.take_in([one, two], {partition: Advance(0, 10)}) == 2
    assert await deliveries.take_in([one], {partition: Advance(10, 11)}) == 0
    async with notifier_database.connection() as conn:
        assert await positions.load(conn, [partition.topic]) == {partition: 11}
    assert await states(notifier_database) == {"pending": 2}


async def test_database_that_went_back_takes_nothing_in(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    partition = TopicPartition("report-jobs.events.v1", 3)
    with pytest.raises(PositionsLostError):
        await deliveries.take_in([delivery()], {partition: Advance(follows=5, next_offset=6)})
    assert await states(notifier_database) == {}


async def test_same_webhook_twice_in_one_batch_is_stored_once(deliveries: Deliveries) -> None:
    one = delivery()
    assert await deliveries.take_in([one, one], NO_POSITION) == 1


async def test_claim_hands_out_the_stored_bytes_to_one_claimer_only(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    stored = delivery("https://x.com/hook?a=b")
    await deliveries.take_in([stored], NO_POSITION)
    (attempt,) = await deliveries.claim(10)
    assert (attempt.url, attempt.body, attempt.webhook_id, attempt.number, attempt.job) == (
        stored.url,
        stored.body,
        stored.webhook_id,
        1,
        stored.job,
    )
    assert await deliveries.claim(10) == []
    assert await states(notifier_database) == {"in_flight": 1}


async def test_success_is_recorded_with_its_event(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery()], NO_POSITION)
    (attempt,) = await deliveries.claim(1)
    await deliveries.end([(attempt, ok())])
    assert await states(notifier_database) == {"delivered": 1}
    assert await history(notifier_database) == [(1, None, 200)]
    (event,) = await outbox_events(notifier_database)
    assert event["type"] == "report-jobs.WebhookDelivered.v1"
    assert (event["webhookId"], event["jobId"], event["attempts"], event["statusCode"]) == (
        attempt.webhook_id,
        attempt.job.job_id,
        1,
        200,
    )


async def test_last_failure_exhausts_with_an_event(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery()], NO_POSITION)
    for number in (1, 2, 3):
        (attempt,) = await deliveries.claim(1)
        assert attempt.number == number
        await deliveries.end([(attempt, failure(503))])
    assert await states(notifier_database) == {"exhausted": 1}
    assert await deliveries.claim(1) == []
    (event,) = await outbox_events(notifier_database)
    assert (event["type"], event["attempts"], event["reason"]) == (
        "report-jobs.WebhookExhausted.v1",
        3,
        "status_503",
    )


async def test_gone_stops_the_delivery_at_once(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery()], NO_POSITION)
    (attempt,) = await deliveries.claim(1)
    await deliveries.end([(attempt, failure(410))])
    assert await states(notifier_database) == {"stopped": 1}
    (event,) = await outbox_events(notifier_database)
    assert event["reason"] == "status_410"


async def test_failure_waits_for_its_delay(make_deliveries: MakeDeliveries) -> None:
    hour = RetrySchedule((timedelta(0), timedelta(hours=1)), jitter=0)
    deliveries = make_deliveries(replace(RULES, schedule=hour))
    await deliveries.take_in([delivery()], NO_POSITION)
    (attempt,) = await deliveries.claim(1)
    assert await deliveries.seconds_until_due() is None
    await deliveries.end([(attempt, failure())])
    assert await deliveries.claim(1) == []
    assert 3500 < (await deliveries.seconds_until_due() or 0) <= 3600


async def test_retry_after_pauses_the_whole_destination_and_no_other(
    deliveries: Deliveries,
) -> None:
    await deliveries.take_in([delivery("https://x.com/1")], NO_POSITION)
    (attempt,) = await deliveries.claim(1)
    await deliveries.end([(attempt, failure(429, retry_after="3600"))])
    await deliveries.take_in([delivery("https://x.com/2"), delivery("https://y.com/")], NO_POSITION)
    assert [claimed.url for claimed in await deliveries.claim(10)] == ["https://y.com/"]
    assert 3500 < (await deliveries.seconds_until_due() or 0) <= 3600


async def test_expired_lease_is_an_unknown_outcome_and_is_sent_again_as_the_same_webhook(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery()], NO_POSITION)
    (first,) = await deliveries.claim(1)
    assert await deliveries.end_expired() == 0
    await expire_leases(notifier_database)
    assert await deliveries.end_expired() == 1
    (second,) = await deliveries.claim(1)
    assert (second.webhook_id, second.body) == (first.webhook_id, first.body)
    assert second.number == 2
    assert await history(notifier_database) == [(1, "unknown", None)]


async def test_attempt_that_is_known_to_be_alive_keeps_its_expired_lease(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery()], NO_POSITION)
    (attempt,) = await deliveries.claim(1)
    await expire_leases(notifier_database)
    assert await deliveries.end_expired(alive=[attempt.token]) == 0


async def test_result_of_a_lost_lease_changes_nothing(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery()], NO_POSITION)
    (zombie,) = await deliveries.claim(1)
    await expire_leases(notifier_database)
    await deliveries.end_expired()
    (owner,) = await deliveries.claim(1)
    await deliveries.end([(zombie, ok())])
    assert await states(notifier_database) == {"in_flight": 1}
    assert await outbox_events(notifier_database) == []
    await deliveries.end([(owner, ok()), (zombie, failure())])
    assert await states(notifier_database) == {"delivered": 1}
    assert await history(notifier_database) == [(1, "unknown", None), (2, None, 200)]


async def test_destination_never_exceeds_its_slots(deliveries: Deliveries) -> None:
    await deliveries.take_in([delivery("https://slow.com/") for _ in range(10)], NO_POSITION)
    first = await deliveries.claim(100)
    assert len(first) == RULES.per_destination
    assert await deliveries.claim(100) == []
    await deliveries.end([(first[0], ok())])
    assert len(await deliveries.claim(100)) == 1


async def test_backlog_of_one_destination_takes_no_slot_from_others(
    deliveries: Deliveries,
) -> None:
    await deliveries.take_in([delivery("https://slow.com/") for _ in range(5000)], NO_POSITION)
    assert {a.url for a in await deliveries.claim(8)} == {"https://slow.com/"}
    others = [delivery(f"https://good{number}.com/") for number in range(30)]
    await deliveries.take_in(others, NO_POSITION)
    claimed = await deliveries.claim(30)
    assert {attempt.url for attempt in claimed} == {other.url for other in others}


async def test_first_of_every_destination_comes_before_the_second_of_any(
    deliveries: Deliveries,
) -> None:
    many = [delivery(f"https://d{number % 3}.com/") for number in range(30)]
    await deliveries.take_in(many, NO_POSITION)
    for _ in range(4):
        assert len({attempt.destination_id for attempt in await deliveries.claim(3)}) == 3


async def test_tenants_of_one_server_are_destinations_of_their_own(deliveries: Deliveries) -> None:
    greedy = [delivery("https://hub.com/", tenant="greedy") for _ in range(100)]
    await deliveries.take_in([*greedy, delivery("https://hub.com/", tenant="modest")], NO_POSITION)
    claimed = await deliveries.claim(100)
    assert [a.job.tenant for a in claimed].count("modest") == 1


async def test_older_of_one_destination_goes_first(deliveries: Deliveries) -> None:
    for number in range(4):
        await deliveries.take_in([delivery(f"https://x.com/{number}")], NO_POSITION)
    urls = [(await deliveries.claim(1))[0].url for _ in range(4)]
    assert urls == [f"https://x.com/{number}" for number in range(4)]


@pytest.mark.parametrize("seed", range(3))
async def test_claimers_and_takers_at_once_lose_nothing_and_claim_nothing_twice(
    seed: int, deliveries: Deliveries, notifier_database: Database, published: KeptMessages
) -> None:
    chance = random.Random(seed)
    webhooks = [delivery(f"https://d{chance.randrange(6)}.com/") for _ in range(240)]
    claims: list[tuple[str, int]] = []
    is_taken_in = asyncio.Event()

    async def take_in() -> None:
        for start in range(0, len(webhooks), 12):
            await deliveries.take_in(webhooks[start : start + 12], NO_POSITION)
        is_taken_in.set()

    async def work() -> None:
        while True:
            attempts = await deliveries.claim(chance.randint(1, 9))
            if not attempts and is_taken_in.is_set() and not await left():
                return
            claims.extend((a.webhook_id, a.number) for a in attempts)
            await deliveries.end([(a, result_of(a)) for a in attempts])

    async def left() -> bool:
        found = await states(notifier_database)
        return bool(found.get("pending") or found.get("in_flight"))

    def result_of(attempt: Attempt) -> AttemptResult:
        return ok() if attempt.number == 2 or hash(attempt.webhook_id) % 2 else failure()

    async with asyncio.timeout(10 * PATIENCE):
        await asyncio.gather(take_in(), *(work() for _ in range(5)))
    assert await states(notifier_database) == {"delivered": len(webhooks)}
    assert len(claims) == len(set(claims))
    async with notifier_database.connection() as conn:
        rows = await conn.fetch("SELECT in_flight, next_due_at FROM destinations")
        stored = await conn.fetchval("SELECT count(*) FROM outbox")
    assert {(row["in_flight"], row["next_due_at"]) for row in rows} == {(0, None)}
    assert stored == len(webhooks)
