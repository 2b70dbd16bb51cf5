"""Writes messages and says which of them the broker acknowledged."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faststream.exceptions import FastStreamException
from faststream.kafka import KafkaBroker

from shared.bus.broker import BusConnection, producer_of
from shared.events import OutgoingMessage
from shared.settings import KafkaSettings

_log = structlog.get_logger()


class BusUnavailableError(Exception):
    """The broker didn't acknowledge in time; whether the message was written is unknown."""


class BusPublisher:
    """Publishes with `acks=all`, bounded by `publish_timeout`."""

    def __init__(
        self, broker: KafkaBroker, connection: BusConnection, settings: KafkaSettings
    ) -> None:
        self._broker = broker
        self._connection = connection
        self._settings = settings

    async def publish_one(self, message: OutgoingMessage) -> None:
        """Write one message and wait for its acknowledgement.

        Raises:
            BusUnavailableError: where none came in time.

        """
        await self.publish([message])

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        """Write `messages` in order; return those that were acknowledged.

        A message too large to be written is never acknowledged, and holds no other one back.

        Raises:
            BusUnavailableError: where not one of them was.

        """
        if not self._connection.is_connected:
            raise BusUnavailableError("not connected to Kafka")
        acknowledged: list[OutgoingMessage] = []
        reason = "all too large"
        try:
            async with asyncio.timeout(self._settings.publish_timeout):
                producer = producer_of(self._broker)
                sent = [(message, await self._send(producer, message)) for message in messages]
                for message, acknowledgement in sent:
                    if await _is_acknowledged(message, acknowledgement):
                        acknowledged.append(message)
        except (KafkaError, OSError, FastStreamException) as error:
            reason = type(error).__name__
        if not acknowledged and messages:
            raise BusUnavailableError(f"no acknowledgement: {reason}")
        return acknowledged

    async def _send(
        self, producer: AIOKafkaProducer, message: OutgoingMessage
    ) -> "asyncio.Future[object] | None":
        """Hand a message to the client, which sends it soon; None where it is too large."""
        try:
            acknowledgement: asyncio.Future[object] = await producer.send(
                self._settings.topic(message.topic),
                message.value,
                key=message.key,
                headers=[(name, value.encode()) for name, value in message.headers.items()],
            )
        except MessageSizeTooLargeError:
            return None
        # Once one message has failed nobody awaits those behind it; their failures are no news.
        acknowledgement.add_done_callback(_take_note)
        return acknowledgement


def _take_note(acknowledgement: "asyncio.Future[object]") -> None:
    if not acknowledgement.cancelled():
        acknowledgement.exception()


async def _is_acknowledged(
    message: OutgoingMessage, acknowledgement: "asyncio.Future[object] | None"
) -> bool:
    """Wait for the broker; both it and the client have a limit of their own for messages."""
    if acknowledgement is not None:
        with suppress(MessageSizeTooLargeError):
            await acknowledgement
            return True
    _log.error(
        "message too large to be published",
        topic=message.topic,
        event_id=message.headers.get("ce_id"),
        job_id=message.headers.get("ce_subject"),
        bytes=len(message.value),
    )
    return False
