"""The dead letter: what no consumer can ever handle, with the reason and where it stood."""

from typing import Final

from aiokafka import ConsumerRecord, TopicPartition

from shared.events import OutgoingMessage, text_headers
from shared.topics import Topic

ORIGIN_TOPIC: Final = "dl_topic"
ORIGIN_PARTITION: Final = "dl_partition"
ORIGIN_OFFSET: Final = "dl_offset"
REASON: Final = "dl_reason"
CONSUMER: Final = "dl_consumer"
LEFT_OUT: Final = "dl_left_out"
OWN_HEADERS: Final = frozenset(
    (ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET, REASON, CONSUMER, LEFT_OUT)
)
LARGEST_WRAPPED_BYTES: Final = 900 * 1024
"""Leaves room for our own headers below what brokers take by default, 1 MiB."""

_LONGEST_REASON: Final = 1000


def dead_letter(record: ConsumerRecord, reason: str, consumer: str) -> OutgoingMessage:
    """Wrap a record with its own bytes, the reason and its position, for the dead-letter topic.

    The bytes of a record too large to be wrapped are left out; its position tells where they are.
    """
    headers = text_headers(record.headers)
    size = len(record.key or b"") + len(record.value or b"")
    size += sum(len(name.encode()) + len(value.encode()) for name, value in headers.items())
    partition = TopicPartition(record.topic, record.partition)
    if size > LARGEST_WRAPPED_BYTES:
        reason = f"{size} bytes, left out: {reason}"
        return letter_without_bytes(partition, record.offset, reason, consumer)
    origin = _origin(partition, record.offset, reason, consumer)
    return OutgoingMessage(
        topic=Topic.DEAD_LETTER,
        key=record.key or b"",
        value=record.value or b"",
        headers=headers | origin,
    )


def letter_without_bytes(
    partition: TopicPartition, offset: int, reason: str, consumer: str
) -> OutgoingMessage:
    """Tell of a record whose bytes can't be carried: its position is all there is."""
    origin = _origin(partition, offset, reason, consumer)
    return OutgoingMessage(
        topic=Topic.DEAD_LETTER, key=b"", value=b"", headers=origin | {LEFT_OUT: "true"}
    )


def _origin(partition: TopicPartition, offset: int, reason: str, consumer: str) -> dict[str, str]:
    return {
        REASON: reason[:_LONGEST_REASON],
        ORIGIN_TOPIC: partition.topic,
        ORIGIN_PARTITION: str(partition.partition),
        ORIGIN_OFFSET: str(offset),
        CONSUMER: consumer,
    }
