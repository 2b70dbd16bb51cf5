"""The dead letter: what no consumer can ever handle, with the reason and where it stood."""

from typing import Final

from aiokafka import ConsumerRecord

from shared.events import OutgoingMessage, text_headers
from shared.topics import Topic

ORIGIN_TOPIC: Final = "dl_topic"
ORIGIN_PARTITION: Final = "dl_partition"
ORIGIN_OFFSET: Final = "dl_offset"
REASON: Final = "dl_reason"
CONSUMER: Final = "dl_consumer"
OWN_HEADERS: Final = frozenset((ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET, REASON, CONSUMER))

_LONGEST_REASON: Final = 1000


def dead_letter(record: ConsumerRecord, reason: str, consumer: str) -> OutgoingMessage:
    """Wrap a record with its own bytes, the reason and its position, for the dead-letter topic."""
    headers = text_headers(record.headers) | {
        REASON: reason[:_LONGEST_REASON],
        ORIGIN_TOPIC: record.topic,
        ORIGIN_PARTITION: str(record.partition),
        ORIGIN_OFFSET: str(record.offset),
        CONSUMER: consumer,
    }
    return OutgoingMessage(
        topic=Topic.DEAD_LETTER, key=record.key or b"", value=record.value or b"", headers=headers
    )
