"""What was read from the log, as the fold takes it: events with the vector that they advance."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import TopicPartition

from shared.bus.stored_log import StoredLog
from shared.events import InvalidMessageError, ReceivedEvent, decode, text_headers
from status_projector.domain import LoggedEvent, Vector


def logged(received: ReceivedEvent, requests_topic: str) -> LoggedEvent:
    """Return the event with the offset after it, in the place of its topic."""
    after = received.offset + 1
    is_request = received.topic == requests_topic
    return received.event, Vector(after, 0) if is_request else Vector(0, after)


async def replay(
    log: StoredLog, spans: Mapping[TopicPartition, range], requests_topic: str
) -> AsyncIterator[list[LoggedEvent]]:
    """Yield the events of these parts of the log in chunks.

    Records are read as the projector reads them; what it dead-lettered counts for nothing.
    """
    for partition, span in spans.items():
        async for records in log.read(partition, span):
            read = (_received(partition, record) for record in records)
            yield [logged(received, requests_topic) for received in read if received]


def _received(partition: TopicPartition, record: Any) -> ReceivedEvent | None:
    headers = text_headers(record.headers)
    try:
        return decode(headers, record.value, topic=partition.topic, offset=record.offset)
    except InvalidMessageError:
        return None
