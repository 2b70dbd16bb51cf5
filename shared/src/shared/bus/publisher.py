"""Writes messages and says which of them the broker acknowledged."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError
from faststream.exceptions import FastStreamException
from faststream.kafka import KafkaBroker

from shared.bus.broker import BusConnection, producer_of
from shared.events import OutgoingMessage, byte_headers
from shared.settings import KafkaSettings

_UNAVAILABLE: Final = (KafkaError, OSError, FastStreamException)
_log = structlog.get_logger()

_Acknowledgement = asyncio.Future[object]
_Answer = asyncio.Future[None]
_Gathered = dict[bytes, list[tuple[OutgoingMessage, _Answer]]]
"""By key: messages of one key go out in their order, and wait together."""


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
        self._gathered: _Gathered = {}
        self._rounds: set[asyncio.Task[None]] = set()

    async def publish_one(self, message: OutgoingMessage) -> None:
        """Write one message and wait for its acknowledgement.

        What is published in one turn of the event loop is handed to the client in one go: one by
        one, each between the work of other callers, it took twice as long, and left them to go on
        one by one as well.

        Raises:
            BusUnavailableError: where none came in time.

        """
        self._require_connection()
        answer: _Answer = asyncio.get_running_loop().create_future()
        if not self._gathered:
            self._gathered = {}
            self._begin_round(self._gathered)
        self._gathered.setdefault(message.key, []).append((message, answer))
        await answer

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        """Write `messages` in order; return those that were acknowledged.

        A message too large to be written is never acknowledged, and holds no other one back.

        Raises:
            BusUnavailableError: where not one of them was.

        """
        self._require_connection()
        acknowledged: list[OutgoingMessage] = []
        reason = "all too large"
        try:
            async with asyncio.timeout(self._settings.publish_timeout):
                producer = producer_of(self._broker)
                # Once one has failed nobody awaits those behind it; their failures are no news.
                sent = [await self._send(producer, message, _take_note) for message in messages]
                for message, acknowledgement in zip(messages, sent, strict=True):
                    if await _is_acknowledged(message, acknowledgement):
                        acknowledged.append(message)
        except _UNAVAILABLE as error:
            reason = type(error).__name__
        if not acknowledged and messages:
            raise _unavailable(reason)
        return acknowledged

    def _require_connection(self) -> None:
        if not self._connection.is_connected:
            raise BusUnavailableError("not connected to Kafka")

    def _begin_round(self, gathered: _Gathered) -> None:
        task = asyncio.create_task(self._publish_gathered(gathered))
        self._rounds.add(task)
        task.add_done_callback(self._rounds.discard)

    def _go_on_without(self, gathered: _Gathered) -> None:
        """Begin another round with what is left where one of them has to wait.

        The client holds up what it has no room for, such as records of a partition that has no
        leader; others mustn't wait for it.
        """
        if gathered:
            self._begin_round(gathered)

    async def _publish_gathered(self, gathered: _Gathered) -> None:
        """Write what has gathered by now; each caller is told of its own message alone."""
        asyncio.get_running_loop().call_soon(self._go_on_without, gathered)
        answers: list[_Answer] = []
        failure: Exception = KafkaConnectionError()  # where the process ends meanwhile
        try:
            async with asyncio.timeout(self._settings.publish_timeout):
                while gathered:
                    of_one_key = gathered.pop(next(iter(gathered)))
                    answers += [answer for _, answer in of_one_key]
                    for message, answer in of_one_key:
                        await self._hand_over(message, answer)
                if answers:  # else another round took all of them meanwhile
                    await asyncio.wait(answers)
        except TimeoutError as error:
            failure = error
        finally:
            for answer in answers:
                _fail(answer, failure)

    async def _hand_over(self, message: OutgoingMessage, answer: _Answer) -> None:
        try:
            producer = producer_of(self._broker)
            await self._send(producer, message, partial(_pass_on, message, answer))
        except Exception as error:  # noqa: BLE001 - its caller raises it
            _fail(answer, error)

    async def _send(
        self,
        producer: AIOKafkaProducer,
        message: OutgoingMessage,
        take: Callable[[_Acknowledgement], object],
    ) -> _Acknowledgement:
        """Hand a message to the client, which sends it soon; `take` is called when it has."""
        acknowledgement: _Acknowledgement
        try:
            acknowledgement = await producer.send(
                self._settings.topic(message.topic),
                message.value,
                key=message.key,
                headers=byte_headers(message.headers),
            )
        except MessageSizeTooLargeError as error:  # which the broker too may find
            acknowledgement = asyncio.get_running_loop().create_future()
            acknowledgement.set_exception(error)
        acknowledgement.add_done_callback(take)
        return acknowledgement


def _take_note(acknowledgement: _Acknowledgement) -> None:
    if not acknowledgement.cancelled():
        acknowledgement.exception()


async def _is_acknowledged(message: OutgoingMessage, acknowledgement: _Acknowledgement) -> bool:
    try:
        await acknowledgement
    except MessageSizeTooLargeError:
        _log_too_large(message)
        return False
    return True


def _pass_on(message: OutgoingMessage, answer: _Answer, acknowledgement: _Acknowledgement) -> None:
    if acknowledgement.cancelled():  # by the client, which is being closed
        _fail(answer, KafkaConnectionError())
        return
    error = acknowledgement.exception()
    if isinstance(error, MessageSizeTooLargeError):
        _log_too_large(message)
    if error is not None:
        _fail(answer, error)
    elif not answer.done():
        answer.set_result(None)


def _fail(answer: _Answer, error: BaseException) -> None:
    if not answer.done():
        passing = isinstance(error, _UNAVAILABLE)
        answer.set_exception(_unavailable(type(error).__name__) if passing else error)


def _unavailable(reason: str) -> BusUnavailableError:
    return BusUnavailableError(f"no acknowledgement: {reason}")


def _log_too_large(message: OutgoingMessage) -> None:
    _log.error(
        "message too large to be published",
        topic=message.topic,
        event_id=message.headers.get("ce_id"),
        job_id=message.headers.get("ce_subject"),
        bytes=len(message.value),
    )
