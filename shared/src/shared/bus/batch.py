"""What a poll brought, read: events, what can't be understood, and the letters that tell of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from shared.bus.dead_letter import dead_letter, letter_without_bytes
from shared.database.positions import Advance
from shared.events import (
    InvalidMessageError,
    OutgoingMessage,
    ReceivedEvent,
    decode,
    text_headers,
)

Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]

_UNREADABLE: Final = "a header's name is not UTF-8, so this client can't read the record"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InvalidRecord:
    """A record that can't be understood; it goes to the dead letter whatever the handler does."""

    key: bytes
    headers: dict[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll brought, in the order of each partition.

    The handler stores `progress` (`shared.database.positions.save`) in the transaction of the
    batch's effects.
    """

    events: list[ReceivedEvent]
    invalid: list[InvalidRecord]
    progress: dict[TopicPartition, Advance]


def read_records(
    records: Records, stored: Mapping[TopicPartition, int], group: str
) -> tuple[Batch, list[OutgoingMessage]]:
    """Return the batch, and a dead letter from `group` for each record that makes no sense.

    `stored` holds the positions that the batch follows on. Events of types from later versions
    are left out; the progress goes past them.
    """
    batch = Batch(events=[], invalid=[], progress={})
    letters: list[OutgoingMessage] = []
    for partition, partition_records in records.items():
        for record in partition_records:
            headers = text_headers(record.headers)
            try:
                event = decode(headers, record.value)
            except InvalidMessageError as error:
                batch.invalid.append(InvalidRecord(record.key or b"", headers, error.reason))
                letters.append(dead_letter(record, error.reason, group))
                _log_invalid(group, partition, record.offset, error.reason)
            else:
                if event is not None:
                    batch.events.append(event)
        if partition_records:
            batch.progress[partition] = Advance(
                follows=stored.get(partition, 0), next_offset=partition_records[-1].offset + 1
            )
    return batch, letters


def unreadable_record(
    partition: TopicPartition, offset: int, stored: Mapping[TopicPartition, int], group: str
) -> tuple[Batch, list[OutgoingMessage]]:
    """Return the batch and the letter for a record that the client can't even hand out."""
    _log_invalid(group, partition, offset, _UNREADABLE)
    batch = Batch(
        events=[],
        invalid=[InvalidRecord(b"", {}, _UNREADABLE)],
        progress={partition: Advance(follows=stored.get(partition, 0), next_offset=offset + 1)},
    )
    return batch, [letter_without_bytes(partition, offset, _UNREADABLE, group)]


def _log_invalid(group: str, partition: TopicPartition, offset: int, reason: str) -> None:
    _log.error(
        "message dead-lettered",
        group=group,
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        reason=reason,
    )
