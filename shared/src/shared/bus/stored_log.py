"""The log as it stands, read from one offset to another by nobody's group: for checks and redrive."""  # noqa: E501

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from shared.bus.publisher import BusUnavailableError
from shared.settings import KafkaSettings
from shared.topics import Topic

_CHUNK: Final = 1000
_POLL_MS: Final = 500


class StoredLog:
    """Some topics' partitions, each readable from any offset as often as one likes."""

    def __init__(self, consumer: AIOKafkaConsumer, settings: KafkaSettings) -> None:
        self._consumer = consumer
        self._settings = settings
        self.partitions: tuple[TopicPartition, ...] = tuple(sorted(consumer.assignment()))

    async def bounds(self) -> dict[TopicPartition, range]:
        """Return the offsets that each partition holds at this moment.

        Raises:
            BusUnavailableError: where the broker doesn't answer in time.

        """
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                first = await self._consumer.beginning_offsets(self.partitions)
                end = await self._consumer.end_offsets(self.partitions)
        except (KafkaError, OSError) as error:
            raise BusUnavailableError(f"no bounds of the log: {type(error).__name__}") from error
        return {partition: range(first[partition], end[partition]) for partition in first}

    async def read(
        self, partition: TopicPartition, offsets: range
    ) -> AsyncIterator[Sequence[ConsumerRecord]]:
        """Yield chunks of the records at `offsets`, which have to lie within the bounds.

        Records that the client can't read at all, for a header name that is no text, are left
        out. Raises BusUnavailableError where no record comes within the request timeout.
        """
        consumer, position, chunk = self._consumer, offsets.start, _CHUNK
        consumer.assign([partition])
        consumer.seek(partition, position)
        while position < offsets.stop:
            try:
                records = await self._take(partition, chunk)
            except UnicodeDecodeError:
                # It spoils all that it comes with: go on one by one, and past it when alone.
                position += chunk == 1
                chunk = _CHUNK if chunk == 1 else 1
                consumer.seek(partition, position)
                continue
            yield [record for record in records if record.offset < offsets.stop]
            position = await consumer.position(partition)

    async def _take(self, partition: TopicPartition, chunk: int) -> Sequence[ConsumerRecord]:
        start = await self._consumer.position(partition)
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                while True:
                    records = await self._consumer.getmany(
                        partition, timeout_ms=_POLL_MS, max_records=chunk
                    )
                    # Offsets without records (of transactions) move the position all the same.
                    if records or await self._consumer.position(partition) > start:
                        return list(records.get(partition, ()))
        except (KafkaError, OSError) as error:
            raise BusUnavailableError(
                f"{partition.topic}/{partition.partition} can't be read from offset {start}:"
                f" {type(error).__name__}"
            ) from error


@asynccontextmanager
async def open_log(settings: KafkaSettings, topics: Sequence[Topic]) -> AsyncIterator[StoredLog]:
    """Open the log of `topics`.

    Raises:
        BusUnavailableError: where the broker can't be reached or has no such topic.

    """
    consumer = AIOKafkaConsumer(
        *(settings.topic(topic) for topic in topics),
        bootstrap_servers=settings.bootstrap_servers,
        request_timeout_ms=int(settings.request_timeout * 1000),
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    try:
        async with asyncio.timeout(settings.request_timeout):
            await consumer.start()
    except (KafkaError, OSError) as error:
        await consumer.stop()
        raise BusUnavailableError(f"no log to read: {type(error).__name__}") from error
    try:
        log = StoredLog(consumer, settings)
        consumer.unsubscribe()
        yield log
    finally:
        await consumer.stop()
