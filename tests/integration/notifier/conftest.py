"""Fixtures of the notifier's integration tests: its schema in a database of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from notifier.app import MIGRATIONS, SCHEMA
from notifier.domain import RetrySchedule
from notifier.metrics import NotifierMetrics
from notifier.service import Deliveries, DeliveryRules
from shared.clock import utc_now
from shared.database.migrations import migrate
from shared.database.pool import Database, open_database
from shared.outbox import Outbox
from shared.settings import DatabaseSettings
from shared.telemetry.metrics import OutboxMetrics
from tests.integration.notifier.bench import KeptMessages
from tests.support.servers import DatabaseUrls

RULES = DeliveryRules(
    schedule=RetrySchedule((timedelta(0), timedelta(0), timedelta(0)), jitter=0),
    per_destination=4,
    lease=30,
    restart_grace=0,
)

MakeDeliveries = Callable[[DeliveryRules], Deliveries]


@pytest.fixture
async def notifier_database(database: DatabaseUrls) -> AsyncIterator[Database]:
    """The notifier's schema, up to date."""
    await asyncio.to_thread(migrate, database.notifier, schema=SCHEMA, directory=MIGRATIONS)
    settings = DatabaseSettings.model_validate({"database_url": database.notifier})
    async with open_database(settings, schema=SCHEMA, service="notifier") as opened:
        yield opened


@pytest.fixture
def published() -> KeptMessages:
    """What the outbox was given to publish."""
    return KeptMessages()


@pytest.fixture
def make_deliveries(notifier_database: Database, published: KeptMessages) -> MakeDeliveries:
    """Build deliveries by rules of the test's choice."""

    def make(rules: DeliveryRules) -> Deliveries:
        registry = CollectorRegistry()
        return Deliveries(
            notifier_database,
            Outbox(notifier_database, published, OutboxMetrics(registry)),
            rules,
            clock=utc_now,
            chance=lambda: 0.0,
            metrics=NotifierMetrics(registry),
        )

    return make


@pytest.fixture
def deliveries(make_deliveries: MakeDeliveries) -> Deliveries:
    """Deliveries of three attempts without waits, four in flight per destination."""
    return make_deliveries(RULES)


@pytest.fixture
def two_at_once(make_deliveries: MakeDeliveries) -> Deliveries:
    """The same with two in flight per destination."""
    return make_deliveries(replace(RULES, per_destination=2))
