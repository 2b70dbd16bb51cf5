"""The log as an auditor reads it: whole topics, from the first record to the last."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from shared.bus.topics import SPECS
from shared.events import InvalidMessageError, ReceivedEvent, decode, text_headers
from shared.topics import Topic
from tests.support.stack import SystemStack

_SECONDS: Final = 60.0


async def read_records(stack: SystemStack, topic: Topic) -> list[ConsumerRecord]:
    """Return what a topic holds now, partition by partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with asyncio.timeout(_SECONDS):
        await consumer.start()
        try:
            return await _read_to_end(consumer, _partitions(stack, topic))
        finally:
            await consumer.stop()


async def read_events(stack: SystemStack, topic: Topic) -> list[ReceivedEvent]:
    """Return the events of a topic, without what can't be understood."""
    events = []
    for record in await read_records(stack, topic):
        try:
            event = decode(text_headers(record.headers), record.value)
        except InvalidMessageError:
            continue
        if event is not None:
            events.append(event)
    return events


async def _read_to_end(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> list[ConsumerRecord]:
    ends = await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    records: list[ConsumerRecord] = []
    for partition in partitions:
        while await consumer.position(partition) < ends[partition]:
            polled = await consumer.getmany(partition, timeout_ms=200)
            records += polled.get(partition, [])
    return records


def _partitions(stack: SystemStack, topic: Topic) -> list[TopicPartition]:
    count = next(spec.partitions for spec in SPECS if spec.topic is topic)
    return [TopicPartition(stack.topic_prefix + topic, number) for number in range(count)]
