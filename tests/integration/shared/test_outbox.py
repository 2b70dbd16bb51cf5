"""The outbox: what was committed is published, by whomever and however late, then forgotten."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from local_stack.polling import poll_until
from shared import outbox
from shared.bus import BusConnection, BusPublisher, BusUnavailableError, make_broker
from shared.database.pool import TRANSIENT_ERRORS, Database, open_database
from shared.events import OutgoingMessage
from shared.outbox import Outbox, OutboxTimes, Publishes
from shared.service import running
from shared.telemetry.metrics import OutboxMetrics
from shared.topics import Topic
from tests.integration.shared.conftest import SECONDS, Log, message
from tests.support.servers import DatabaseUrls, LocalKafka, LocalPostgres, patient_settings

SOON = OutboxTimes(left_behind_after=0.2, sweep_every=0.05)
NEVER = OutboxTimes(left_behind_after=3600, sweep_every=0.05)


@dataclass
class Bus:
    """Remembers what was published; can be away, and can hold a publication up."""

    published: list[OutgoingMessage] = field(default_factory=list)
    is_away: bool = False
    refused: set[bytes] = field(default_factory=set)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.is_open.set()

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        self.was_asked.set()
        await self.is_open.wait()
        if self.is_away:
            raise BusUnavailableError("away")
        taken = [sent for sent in messages if sent.key not in self.refused]
        self.published += taken
        return taken


@pytest.fixture
async def pool(database: DatabaseUrls) -> AsyncIterator[Database]:
    async with outbox_database(database.report_worker) as opened:
        yield opened


@asynccontextmanager
async def outbox_database(url: str) -> AsyncIterator[Database]:
    settings = patient_settings(url)
    async with open_database(settings, schema="report_worker", service="test") as opened:
        async with opened.transaction() as conn:
            await conn.execute(outbox.CREATE_V1)
        yield opened


@asynccontextmanager
async def running_outbox(
    pool: Database, bus: Publishes, times: OutboxTimes = SOON
) -> AsyncIterator[Outbox]:
    made = Outbox(pool, bus, OutboxMetrics(CollectorRegistry()), times)
    async with running({"publisher": made.run_publisher(), "sweeper": made.run_sweeper()}):
        yield made


async def commit(pool: Database, *messages: OutgoingMessage) -> None:
    async with pool.transaction() as conn:
        await outbox.add(conn, messages)


async def left(pool: Database) -> set[bytes]:
    async with pool.connection() as conn:
        return {row["key"] for row in await conn.fetch("SELECT key FROM outbox")}


async def poll_until_published(made: Outbox, count: int) -> None:
    async def is_published() -> bool:
        return len(made._acknowledged) == count

    await poll_until(is_published, seconds=SECONDS)


async def wait_until_empty(pool: Database) -> None:
    async def is_empty() -> bool:
        try:
            return not await left(pool)
        except TRANSIENT_ERRORS:
            return False

    await poll_until(is_empty, seconds=SECONDS)


async def test_committed_messages_are_published_in_order_and_their_rows_deleted(
    pool: Database,
) -> None:
    bus = Bus()
    messages = [message(number) for number in range(50)]
    async with running_outbox(pool, bus, NEVER) as made:
        await commit(pool, *messages)
        made.publish(messages)
        await wait_until_empty(pool)

    assert bus.published == messages


async def test_a_message_without_hurry_waits_for_one_that_has_it(pool: Database) -> None:
    bus = Bus()
    times = OutboxTimes(left_behind_after=3600, company=3600)
    async with running_outbox(pool, bus, times) as made:
        await commit(pool, message(1), message(2))
        made.publish([message(1)], has_hurry=False)
        assert await left(pool) == {message(1).key, message(2).key}
        assert not bus.was_asked.is_set()
        made.publish([message(2)])
        await wait_until_empty(pool)

    assert bus.published == [message(1), message(2)]


async def test_a_message_without_hurry_goes_alone_where_none_follows(pool: Database) -> None:
    bus = Bus()
    async with running_outbox(pool, bus, NEVER) as made:
        await commit(pool, message(1))
        made.publish([message(1)], has_hurry=False)
        await wait_until_empty(pool)

    assert bus.published == [message(1)]


async def test_acknowledged_rows_are_deleted_together_after_a_moment(pool: Database) -> None:
    times = OutboxTimes(left_behind_after=3600, forget_after=3600)
    async with running_outbox(pool, Bus(), times) as made:
        await commit(pool, message(1), message(2))
        for number in (1, 2):
            made.publish([message(number)])
            await poll_until_published(made, number)
        assert await left(pool) == {message(1).key, message(2).key}
        await made.drain()
        assert await left(pool) == set()


async def test_acknowledged_rows_do_not_pile_up_until_then(pool: Database) -> None:
    times = OutboxTimes(left_behind_after=3600, forget_after=3600)
    messages = [message(number) for number in range(501)]
    async with running_outbox(pool, Bus(), times) as made:
        await commit(pool, *messages)
        made.publish(messages)
        await wait_until_empty(pool)


async def test_what_was_acknowledged_is_not_published_again_however_late_its_row_is_deleted(
    pool: Database,
) -> None:
    bus = Bus()
    times = OutboxTimes(left_behind_after=0.0, sweep_every=0.05, forget_after=3600)
    made = Outbox(pool, bus, OutboxMetrics(CollectorRegistry()), times)
    await commit(pool, message(1))
    async with running({"publisher": made.run_publisher()}):
        made.publish([message(1)])
        await poll_until_published(made, 1)
    async with running({"sweeper": made.run_sweeper()}):
        await wait_until_empty(pool)

    assert bus.published == [message(1)]


async def test_what_was_never_committed_is_in_no_table(pool: Database) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what is tested
        async with pool.transaction() as conn:
            await outbox.add(conn, [message(1)])
            raise ZeroDivisionError

    assert await left(pool) == set()


async def test_event_stored_twice_is_one_row(pool: Database) -> None:
    await commit(pool, message(1))
    await commit(pool, message(1), message(2))

    assert await left(pool) == {message(1).key, message(2).key}


async def test_rows_that_a_dead_process_left_behind_are_swept(pool: Database) -> None:
    await commit(pool, message(1), message(2))
    bus = Bus()

    async with running_outbox(pool, bus):
        await wait_until_empty(pool)

    # They were stored at the same moment: their order is the database's to choose.
    assert {sent.key: sent for sent in bus.published} == {
        sent.key: sent for sent in (message(1), message(2))
    }


async def test_more_rows_than_one_sweep_takes_are_swept_all(pool: Database) -> None:
    messages = [message(number) for number in range(1200)]
    await commit(pool, *messages)
    bus = Bus()

    async with running_outbox(pool, bus):
        await wait_until_empty(pool)

    assert len(bus.published) == 1200


async def test_bus_that_is_away_loses_nothing(pool: Database) -> None:
    bus = Bus(is_away=True)
    async with running_outbox(pool, bus) as made:
        await commit(pool, message(1))
        made.publish([message(1)])
        await commit(pool, message(2))
        assert await left(pool) == {message(1).key, message(2).key}

        bus.is_away = False
        await wait_until_empty(pool)

    assert {sent.key for sent in bus.published} == {message(1).key, message(2).key}


async def test_message_that_was_not_acknowledged_keeps_its_row(pool: Database) -> None:
    bus = Bus(refused={message(1).key})
    async with running_outbox(pool, bus, NEVER) as made:
        await commit(pool, message(1), message(2))
        made.publish([message(1), message(2)])

        async def is_other_gone() -> bool:
            return await left(pool) == {message(1).key}

        await poll_until(is_other_gone, seconds=SECONDS)


async def test_row_that_one_sweeper_publishes_is_passed_over_by_another(pool: Database) -> None:
    await commit(pool, message(1))
    slow, quick = Bus(), Bus()
    slow.is_open.clear()
    one, other = (
        Outbox(pool, bus, OutboxMetrics(CollectorRegistry()), OutboxTimes(left_behind_after=0))
        for bus in (slow, quick)
    )
    first = asyncio.create_task(one._sweep())
    async with asyncio.timeout(SECONDS):
        await slow.was_asked.wait()

        assert await other._sweep() == 0
        slow.is_open.set()
        assert await first == 1

    assert (len(slow.published), len(quick.published)) == (1, 0)


async def test_drain_waits_for_what_is_on_its_way(pool: Database) -> None:
    bus = Bus()
    bus.is_open.clear()
    async with running_outbox(pool, bus, NEVER) as made:
        await commit(pool, message(1))
        made.publish([message(1)])
        asyncio.get_running_loop().call_later(0.05, bus.is_open.set)
        await made.drain()

        assert await left(pool) == set()


async def test_real_broker_that_was_away_is_caught_up_with(
    local_log: Log, local_kafka: LocalKafka, pool: Database
) -> None:
    settings = local_log.settings
    broker = make_broker(settings, service="test")
    connection = BusConnection(broker, settings)
    await connection.connect()
    try:
        async with running_outbox(pool, BusPublisher(broker, connection, settings)) as made:
            await commit(pool, message(1))
            made.publish([message(1)])
            await wait_until_empty(pool)
            await local_kafka.kill()
            await commit(pool, message(2))
            made.publish([message(2)])
            await commit(pool, message(3))
            await local_kafka.start()
            await wait_until_empty(pool)
    finally:
        await connection.close()

    keys = {record.key for record in await local_log.read(Topic.EVENTS)}
    assert keys == {message(number).key for number in (1, 2, 3)}


async def test_database_that_was_away_is_swept_once_it_is_back(
    local_postgres: LocalPostgres,
) -> None:
    bus = Bus()
    async with (
        local_postgres.create_database() as urls,
        outbox_database(urls.report_worker) as pool,
        running_outbox(pool, bus),
    ):
        await commit(pool, message(1))
        await local_postgres.kill()
        await local_postgres.start()
        await wait_until_empty(pool)

    assert message(1).key in {sent.key for sent in bus.published}
