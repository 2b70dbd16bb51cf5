"""What a poll brought, read: events, what can't be understood, and the letters that tell of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from shared.bus.dead_letter import dead_letter, letter_without_bytes
from shared.database.positions import Advance
from shared.events import (
    InvalidMessageError,
    JobEvent,
    OutgoingMessage,
    ReceivedEvent,
    decode,
    text_headers,
    type_name,
)

Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]

Objection = Callable[[ReceivedEvent], str | None]
"""Says why an event that makes sense is not to be handled all the same; None lets it pass."""

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


def type_names(event_types: Collection[type[JobEvent]]) -> frozenset[bytes]:
    """Return the `ce_type` of each event type as records carry it."""
    return frozenset(type_name(event_type).encode() for event_type in event_types)


def read_records(
    records: Records,
    stored: Mapping[TopicPartition, int],
    group: str,
    wanted: frozenset[bytes] | None = None,
    objection: Objection | None = None,
) -> tuple[Batch, list[OutgoingMessage]]:
    """Return the batch, and a dead letter from `group` for each record that makes no sense.

    There is one as well for each event with an `objection` to it, which is left out of the batch.

    `stored` holds the positions that the batch follows on. Left out are events of types from
    later versions, and of types that aren't `wanted`, which are neither read nor judged: whoever
    wants them does that. A record that names no type is everybody's. The progress goes past all.
    """
    batch = Batch(events=[], invalid=[], progress={})
    letters: list[OutgoingMessage] = []
    for partition, partition_records in records.items():
        for record in partition_records:
            if wanted is not None and not _is_wanted(record, wanted):
                continue
            headers = text_headers(record.headers)
            try:
                event = decode(headers, record.value, topic=partition.topic, offset=record.offset)
            except InvalidMessageError as error:
                batch.invalid.append(InvalidRecord(record.key or b"", headers, error.reason))
                letters.append(dead_letter(record, error.reason, group))
                _log_invalid(group, partition, record.offset, error.reason)
                continue
            reason = objection(event) if event and objection else None
            if reason is not None:
                letters.append(dead_letter(record, reason, group))
                _log_invalid(group, partition, record.offset, reason)
            elif event is not None:
                batch.events.append(event)
        if partition_records:
            batch.progress[partition] = Advance(
                follows=stored.get(partition, 0), next_offset=partition_records[-1].offset + 1
            )
    return batch, letters


def are_all_of(records: Records, types: frozenset[bytes]) -> bool:
    """Tell whether every record names one of `types`."""
    return all(
        dict(record.headers).get("ce_type") in types
        for partition_records in records.values()
        for record in partition_records
    )


def joined(records: Records, more: Records) -> Records:
    """Return what two polls brought, one after the other, as if one had."""
    partitions = records.keys() | more.keys()
    return {p: [*records.get(p, ()), *more.get(p, ())] for p in partitions}


def _is_wanted(record: ConsumerRecord, wanted: frozenset[bytes]) -> bool:
    name = dict(record.headers).get("ce_type")
    return not name or name in wanted


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
