"""Reads topics in batches from positions that the service itself stores with its effects.

A loop of our own over the consumer that FastStream manages, because the guarantees need control
that a subscriber's handler doesn't have: nothing is handled before the seek after an assignment,
a batch that meets a broken database is tried again rather than skipped, and an idle reader wakes
at once when a record arrives (see docs/adr/0002-reading-the-log.md).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from shared.backoff import Backoff
from shared.bus.dead_letter import dead_letter
from shared.bus.publisher import BusPublisher, BusUnavailableError
from shared.database import positions
from shared.database.pool import TRANSIENT_ERRORS, Database
from shared.events import (
    InvalidMessageError,
    OutgoingMessage,
    ReceivedEvent,
    decode,
    text_headers,
)
from shared.settings import KafkaSettings
from shared.telemetry.metrics import ReaderMetrics
from shared.telemetry.probes import Heartbeat
from shared.topics import Topic

Records = dict[TopicPartition, list[ConsumerRecord]]

_POLL_MS: Final = 1000
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

    The handler stores `next_offsets` (`shared.database.positions.save`) in the transaction of
    the batch's effects.
    """

    events: list[ReceivedEvent]
    invalid: list[InvalidRecord]
    next_offsets: dict[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class ReaderTimes:
    """All in seconds."""

    commit_every: float = 1.0
    call_timeout: float = 10.0
    retry: Backoff = field(default_factory=lambda: Backoff(first=0.1, longest=5.0))


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka's base is untyped
    """Counts assignments; never blocks the group."""

    def __init__(self) -> None:
        self.generation = 0
        self.is_assigned = False

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002 - the interface gives it
        self.is_assigned = False
        self.generation += 1

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:  # noqa: ARG002 - the same
        self.is_assigned = True
        self.generation += 1


class LogReader:
    """One consumer-group member of one service; `handle` gets every batch at least once."""

    def __init__(
        self,
        broker: KafkaBroker,
        *,
        topics: tuple[Topic, ...],
        group: str,
        settings: KafkaSettings,
        database: Database,
        dead_letters: BusPublisher,
        handle: Callable[[Batch], Awaitable[None]],
        metrics: ReaderMetrics,
        heartbeat: Heartbeat,
        max_records: int = 1000,
        times: ReaderTimes | None = None,
    ) -> None:
        self._topics = [settings.topic(topic) for topic in topics]
        self._group = group
        self._database = database
        self._dead_letters = dead_letters
        self._handle = handle
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._max_records = max_records
        self._times = times or ReaderTimes()
        self._assignment = _Assignment()
        self._positioned_generation = -1
        self._uncommitted: dict[TopicPartition, int] = {}
        self._committed_at = time.monotonic()
        self._subscriber = broker.subscriber(
            *self._topics,
            group_id=settings.topic(group),
            batch=True,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            listener=self._assignment,
            # Several assignors at once are mishandled by aiokafka.
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            # A fetch that leaves a partition out would otherwise stall it for half a second.
            fetch_max_wait_ms=100,
        )

    @property
    def is_reading(self) -> bool:
        """Whether partitions are assigned and the reader stands at its own position in each."""
        return self._assignment.is_assigned and self._is_positioned

    @property
    def _is_positioned(self) -> bool:
        return self._positioned_generation == self._assignment.generation

    async def run(self) -> None:
        """Read for ever; call after the broker has started. Ends when the consumer is stopped."""
        consumer = self._subscriber.consumer
        if consumer is None:
            raise RuntimeError("the broker must be started before its reader runs")
        failures = 0
        while True:
            self._heartbeat.beat()
            try:
                await self._read_once(consumer)
                failures = 0
            except ConsumerStoppedError:
                return
            except (*TRANSIENT_ERRORS, KafkaError, IllegalStateError, BusUnavailableError) as error:
                failures += 1
                self._metrics.failures.inc()
                _log.warning(
                    "reading the log failed", group=self._group, error=type(error).__name__
                )
                await asyncio.sleep(self._times.retry.delay(failures))

    async def commit(self) -> None:
        """Tell Kafka how far this reader came, for lag metrics and as a second opinion."""
        consumer = self._subscriber.consumer
        if consumer is None or not self._uncommitted:
            return
        offsets, self._uncommitted = self._uncommitted, {}
        self._committed_at = time.monotonic()
        try:
            async with asyncio.timeout(self._times.call_timeout):
                await consumer.commit(offsets)
        except (KafkaError, IllegalStateError, OSError) as error:
            # Own positions are the truth; the next commit covers this one.
            _log.info("offset commit failed", group=self._group, error=type(error).__name__)

    async def _read_once(self, consumer: AIOKafkaConsumer) -> None:
        if self._assignment.is_assigned and not self._is_positioned:
            await self._seek(consumer)
        records = await self._poll(consumer)
        # Whatever was read before the seek of a new assignment is read again after it.
        if not self._is_positioned:
            return
        if records:
            await self._apply(records)
        if not records or time.monotonic() - self._committed_at >= self._times.commit_every:
            await self.commit()

    async def _poll(self, consumer: AIOKafkaConsumer) -> Records:
        # The consumer's own timeout doesn't cover a rebalance that a dead broker never ends.
        try:
            async with asyncio.timeout(_POLL_MS / 1000 * 2):
                return cast(
                    "Records",
                    await consumer.getmany(timeout_ms=_POLL_MS, max_records=self._max_records),
                )
        except TimeoutError:
            return {}

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """Start each partition at the lower of Kafka's committed offset and our own position.

        A partition without a position of ours is read from its beginning: the effects of what
        Kafka says was committed are not in this database.
        """
        generation = self._assignment.generation
        self._uncommitted.clear()
        async with self._database.connection() as conn:
            own = await positions.load(conn, self._topics)
        async with asyncio.timeout(self._times.call_timeout):
            for partition in consumer.assignment():
                committed = await consumer.committed(partition)
                start = starting_offset(own.get(partition), committed)
                if start is None:
                    await consumer.seek_to_beginning(partition)
                else:
                    consumer.seek(partition, start)
        if generation == self._assignment.generation:
            self._positioned_generation = generation

    async def _apply(self, records: Records) -> None:
        """Handle the records, again and again, until it works or they are no longer ours."""
        generation = self._assignment.generation
        batch, dead = self._decode(records)
        failures = 0
        while generation == self._assignment.generation:
            self._heartbeat.beat()
            try:
                if dead:
                    await self._dead_letters.publish(dead)
                await self._handle(batch)
            except (*TRANSIENT_ERRORS, BusUnavailableError) as error:
                failures += 1
                self._metrics.failures.inc()
                _log.warning(
                    "batch put off",
                    group=self._group,
                    error=type(error).__name__,
                    events=len(batch.events),
                    failures=failures,
                )
                await asyncio.sleep(self._times.retry.delay(failures))
            else:
                self._uncommitted |= batch.next_offsets
                self._metrics.handled.inc(len(batch.events))
                self._metrics.dead_lettered.inc(len(dead))
                return

    def _decode(self, records: Records) -> tuple[Batch, list[OutgoingMessage]]:
        batch = Batch(events=[], invalid=[], next_offsets={})
        dead: list[OutgoingMessage] = []
        for partition, partition_records in records.items():
            for record in partition_records:
                headers = text_headers(record.headers)
                try:
                    event = decode(headers, record.value)
                except InvalidMessageError as error:
                    batch.invalid.append(InvalidRecord(record.key or b"", headers, error.reason))
                    dead.append(dead_letter(record, error.reason, self._group))
                    _log.error(
                        "message dead-lettered",
                        group=self._group,
                        topic=record.topic,
                        partition=record.partition,
                        offset=record.offset,
                        reason=error.reason,
                    )
                else:
                    if event is not None:
                        batch.events.append(event)
            batch.next_offsets[partition] = partition_records[-1].offset + 1
        return batch, dead


def starting_offset(own: int | None, committed: int | None) -> int | None:
    """Return where reading starts; None for the beginning of the partition."""
    if own is None:
        return None
    return own if committed is None else min(own, committed)
