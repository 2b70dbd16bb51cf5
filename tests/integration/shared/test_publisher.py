"""Publishing: what the broker acknowledged is there, and nothing waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from shared.bus import BusConnection, BusPublisher, BusUnavailableError, make_broker
from shared.settings import KafkaSettings
from shared.topics import Topic
from tests.integration.shared.conftest import SECONDS, Log, message
from tests.support.servers import LocalKafka


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


async def test_nothing_to_publish_is_nothing_to_wait_for(log: Log) -> None:
    async with publishing(log.settings) as publisher:
        assert await publisher.publish([]) == []


async def test_unconnected_publisher_says_so_at_once() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    broker = make_broker(settings, service="test")
    publisher = BusPublisher(broker, BusConnection(broker, settings), settings)

    with pytest.raises(BusUnavailableError, match="not connected"):
        await publisher.publish_one(message(1))


async def test_broker_that_dies_is_noticed_in_bounded_time_and_used_again_once_it_is_back(
    local_log: Log, local_kafka: LocalKafka
) -> None:
    async with publishing(local_log.settings) as publisher:
        await publisher.publish_one(message(1))
        await local_kafka.kill()
        try:
            async with asyncio.timeout(SECONDS):
                with pytest.raises(BusUnavailableError):
                    await publisher.publish([message(2), message(3)])
        finally:
            await local_kafka.start()

        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    await publisher.publish_one(message(4))
                    break
                except BusUnavailableError:
                    continue

    keys = {record.key for record in await local_log.read(Topic.EVENTS)}
    assert {message(1).key, message(4).key} <= keys
