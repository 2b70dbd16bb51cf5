"""Deliveries of jobs that have outlived their retention go, once they are done with."""

from datetime import timedelta

from notifier.service import Deliveries, Purger
from shared.database.pool import Database
from shared.database.purging import PurgeRules
from tests.integration.notifier.bench import failure, history, ok, states
from tests.unit.notifier.samples import CREATED_AT, RETENTION, delivery

RULES = PurgeRules(RETENTION, batch=2, pause=0)
AFTER = CREATED_AT + RETENTION + timedelta(seconds=1)


async def test_ended_deliveries_of_old_jobs_are_deleted_with_their_attempts(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery(f"https://x{n}.com/") for n in range(5)], {})
    await deliveries.end([(attempt, ok()) for attempt in await deliveries.claim(5)])

    assert await Purger(notifier_database, RULES, lambda: AFTER).purge() == 5

    assert await states(notifier_database) == {}
    assert await history(notifier_database) == []


async def test_delivery_that_is_not_done_with_stays(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery(f"https://x{n}.com/") for n in range(3)], {})
    one, two, _ = await deliveries.claim(3)
    await deliveries.end([(one, ok()), (two, failure())])

    assert await Purger(notifier_database, RULES, lambda: AFTER).purge() == 1

    assert await states(notifier_database) == {"pending": 1, "in_flight": 1}


async def test_deliveries_of_young_jobs_stay(
    deliveries: Deliveries, notifier_database: Database
) -> None:
    await deliveries.take_in([delivery()], {})
    await deliveries.end([(attempt, ok()) for attempt in await deliveries.claim(1)])

    before = AFTER - timedelta(seconds=2)

    assert await Purger(notifier_database, RULES, lambda: before).purge() == 0
    assert await states(notifier_database) == {"delivered": 1}
