"""Publishing: what the broker acknowledged is there, and nothing waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import NoneType
from typing import Any

import pytest

from local_stack.polling import poll_until
from shared.bus import BusConnection, BusPublisher, BusUnavailableError, make_broker
from shared.bus.broker import producer_of
from shared.events import OutgoingMessage
from shared.settings import KafkaSettings
from shared.topics import Topic
from tests.integration.shared.conftest import SECONDS, Log, message
from tests.support.servers import LocalKafka

_IN_TIME = 30.0
"""For what takes as long as a publication may: three seconds, twice."""


@asynccontextmanager
async def publishing(settings: KafkaSettings) -> AsyncIterator[BusPublisher]:
    broker = make_broker(settings, service="test")
    connection = BusConnection(broker, settings)
    try:
        await connection.connect()
        yield BusPublisher(broker, connection, settings)
    finally:
        await connection.close()


async def test_messages_are_written_with_key_and_headers(log: Log) -> None:
    async with publishing(log.settings) as publisher:
        acknowledged = await publisher.publish([message(1), message(2)])

    assert acknowledged == [message(1), message(2)]
    records = {record.key: record for record in await log.read(Topic.EVENTS)}
    assert set(records) == {message(1).key, message(2).key}
    record = records[message(1).key]
    assert record.value == message(1).value
    headers = {name: value.decode() for name, value in record.headers}
    assert message(1).headers.items() <= headers.items()


async def test_order_within_a_key_is_kept(log: Log) -> None:
    messages = [replace(message(1), value=b"%d" % number) for number in range(200)]
    async with publishing(log.settings) as publisher:
        await publisher.publish(messages)

    assert [record.value for record in await log.read(Topic.EVENTS)] == [
        sent.value for sent in messages
    ]


async def test_message_that_is_too_large_holds_no_other_back(log: Log) -> None:
    too_large = replace(message(2), value=b"x" * 2 * 1024 * 1024)
    async with publishing(log.settings) as publisher:
        acknowledged = await publisher.publish([message(1), too_large, message(3)])

        assert acknowledged == [message(1), message(3)]
        with pytest.raises(BusUnavailableError):
            await publisher.publish_one(too_large)


async def test_each_of_many_callers_is_told_of_its_own_message(log: Log) -> None:
    too_large = replace(message(100), value=b"x" * 2 * 1024 * 1024)
    async with publishing(log.settings) as publisher:
        outcomes = await asyncio.gather(
            *(publisher.publish_one(one) for one in [message(1), too_large, message(3)]),
            return_exceptions=True,
        )

    assert [type(outcome) for outcome in outcomes] == [NoneType, BusUnavailableError, NoneType]
    records = await log.read(Topic.EVENTS)
    assert {record.key for record in records} == {message(1).key, message(3).key}


async def test_callers_of_one_key_are_served_in_their_order(log: Log) -> None:
    messages = [replace(message(1), value=b"%d" % number) for number in range(200)]
    async with publishing(log.settings) as publisher:
        await asyncio.gather(*(publisher.publish_one(one) for one in messages))

    assert [record.value for record in await log.read(Topic.EVENTS)] == [
        sent.value for sent in messages
    ]


async def test_caller_that_gives_up_takes_no_other_with_it(log: Log) -> None:
    async with publishing(log.settings) as publisher:
        first, second = (
            asyncio.create_task(publisher.publish_one(message(number))) for number in (1, 2)
        )
        await asyncio.sleep(0)
        first.cancel()
        await second

    assert first.cancelled()
    assert message(2).key in {record.key for record in await log.read(Topic.EVENTS)}


async def test_message_that_can_not_be_sent_takes_no_other_with_it(log: Log) -> None:
    impossible = replace(message(2), headers={"ce_id": "\ud800"})
    async with publishing(log.settings) as publisher:
        outcomes = await asyncio.gather(
            *(publisher.publish_one(one) for one in [message(1), impossible, message(3)]),
            return_exceptions=True,
        )

    assert [type(outcome) for outcome in outcomes] == [NoneType, UnicodeEncodeError, NoneType]


async def test_message_that_has_to_wait_holds_no_other_back(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with publishing(log.settings) as publisher:
        producer = producer_of(publisher._broker)
        is_free, send = asyncio.Event(), producer.send

        async def wait_with_the_second(*arguments: Any, **named: Any) -> Any:
            if named["key"] == message(2).key:
                await is_free.wait()
            return await send(*arguments, **named)

        monkeypatch.setattr(producer, "send", wait_with_the_second)
        callers = [asyncio.create_task(publisher.publish_one(message(n))) for n in (1, 2, 3)]
        await asyncio.gather(callers[0], callers[2])
        assert not callers[1].done()
        is_free.set()
        await callers[1]


async def test_nothing_to_publish_is_nothing_to_wait_for(log: Log) -> None:
    async with publishing(log.settings) as publisher:
        assert await publisher.publish([]) == []


async def test_unconnected_publisher_says_so_at_once() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    broker = make_broker(settings, service="test")
    publisher = BusPublisher(broker, BusConnection(broker, settings), settings)

    with pytest.raises(BusUnavailableError, match="not connected"):
        await publisher.publish_one(message(1))


async def publish_in_the_end(publisher: BusPublisher, sent: OutgoingMessage) -> None:
    async def is_published() -> bool:
        try:
            await publisher.publish_one(sent)
        except BusUnavailableError:
            return False
        return True

    await poll_until(is_published, seconds=SECONDS)


async def test_broker_that_dies_is_noticed_in_bounded_time_and_used_again_once_it_is_back(
    local_log: Log, local_kafka: LocalKafka
) -> None:
    async with publishing(local_log.settings) as publisher:
        await publish_in_the_end(publisher, message(1))
        await local_kafka.kill()
        try:
            async with asyncio.timeout(_IN_TIME):
                with pytest.raises(BusUnavailableError):
                    await publisher.publish([message(2), message(3)])
                outcomes = await asyncio.gather(
                    *(publisher.publish_one(message(number)) for number in (5, 6)),
                    return_exceptions=True,
                )
                assert [type(outcome) for outcome in outcomes] == [BusUnavailableError] * 2
        finally:
            await local_kafka.start()

        await publish_in_the_end(publisher, message(4))

    keys = {record.key for record in await local_log.read(Topic.EVENTS)}
    assert {message(1).key, message(4).key} <= keys
