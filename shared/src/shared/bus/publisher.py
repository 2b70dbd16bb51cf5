"""Writes messages and says which of them the broker acknowledged."""

import asyncio
from collections.abc import Sequence

from aiokafka.errors import KafkaError
from faststream.exceptions import FastStreamException
from faststream.kafka import KafkaBroker

from shared.bus.broker import BusConnection
from shared.events import OutgoingMessage
from shared.settings import KafkaSettings


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

        Raises:
            BusUnavailableError: where not one of them was.

        """
        if not self._connection.is_connected:
            raise BusUnavailableError("not connected to Kafka")
        acknowledged: list[OutgoingMessage] = []
        try:
            async with asyncio.timeout(self._settings.publish_timeout):
                sent = [(message, await self._send(message)) for message in messages]
                for message, acknowledgement in sent:
                    await acknowledgement
                    acknowledged.append(message)
        except (KafkaError, OSError, FastStreamException) as error:
            if not acknowledged:
                raise BusUnavailableError(f"no acknowledgement: {type(error).__name__}") from error
        return acknowledged

    async def _send(self, message: OutgoingMessage) -> "asyncio.Future[object]":
        return await self._broker.publish(
            message.value,
            self._settings.topic(message.topic),
            key=message.key,
            headers=message.headers,
            correlation_id=message.headers.get("ce_subject", ""),
            no_confirm=True,
        )
