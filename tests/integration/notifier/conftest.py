"""Fixtures of the notifier's integration tests: its schema in a database of the test's own."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from notifier.domain import RetrySchedule
from notifier.service import Deliveries, DeliveryRules
from shared.database.pool import Database
from tests.integration.notifier.bench import KeptMessages, deliveries_on, open_notifier_database
from tests.support.servers import DatabaseUrls

RULES = DeliveryRules(
    schedule=RetrySchedule((timedelta(0), timedelta(0), timedelta(0)), jitter=0),
    per_destination=4,
    lease=600,
    restart_grace=0,
)

MakeDeliveries = Callable[[DeliveryRules], Deliveries]


@pytest.fixture
async def notifier_database(database: DatabaseUrls) -> AsyncIterator[Database]:
    """The notifier's schema, up to date."""
    async with open_notifier_database(database) as opened:
        yield opened


@pytest.fixture
def published() -> KeptMessages:
    """What the outbox was given to publish."""
    return KeptMessages()


@pytest.fixture
def make_deliveries(notifier_database: Database, published: KeptMessages) -> MakeDeliveries:
    """Build deliveries by rules of the test's choice."""
    return lambda rules: deliveries_on(notifier_database, published, rules)


@pytest.fixture
def deliveries(make_deliveries: MakeDeliveries) -> Deliveries:
    """Deliveries of three attempts without waits, four in flight per destination."""
    return make_deliveries(RULES)


@pytest.fixture
def two_at_once(make_deliveries: MakeDeliveries) -> Deliveries:
    """The same with two in flight per destination."""
    return make_deliveries(replace(RULES, per_destination=2))
