"""Reads topics in batches from positions that the service itself stores with its effects.

A loop of our own over the consumer that FastStream manages, because the guarantees need control
that a subscriber's handler doesn't have: nothing is handled before the seek after an assignment,
a batch that meets a broken database is tried again rather than skipped, and an idle reader wakes
at once when a record arrives (see docs/adr/0002-reading-the-log.md).
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from shared.backoff import Backoff
from shared.bus.batch import (
    Batch,
    Objection,
    Records,
    are_all_of,
    joined,
    read_records,
    type_names,
    unreadable_record,
)
from shared.bus.bookmarks import Bookmarks
from shared.bus.pace import Pace, fetching_held
from shared.bus.publisher import BusPublisher, BusUnavailableError
from shared.database import positions
from shared.database.pool import PASSING_ERRORS, TRANSIENT_ERRORS, Database
from shared.events import JobEvent, OutgoingMessage, ReceivedEvent
from shared.settings import KafkaSettings
from shared.telemetry.metrics import ReaderMetrics
from shared.telemetry.probes import Heartbeat
from shared.topics import Topic

_POLL_MS: Final = 1000
_GLANCE_MS: Final = 50
_NOWHERE: Final = -1
_PASSING: Final = (
    *PASSING_ERRORS,
    positions.PositionsLostError,
    BusUnavailableError,
    IllegalStateError,
    KafkaError,
)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReaderTimes:
    """All in seconds."""

    commit_every: float = 1.0
    """How often offsets are committed to Kafka, and positions after records without effects."""
    commit_retry: Backoff = field(default_factory=lambda: Backoff(first=1.0, longest=60.0))
    """After which a commit that failed is made again."""
    call_timeout: float = 10.0
    check_every: float = 5.0
    """How often a look is taken at whether the database still knows our positions."""
    retry: Backoff = field(default_factory=lambda: Backoff(first=0.1, longest=5.0))
    pace: Pace = field(default_factory=Pace)


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
        wanted: Collection[type[JobEvent]] | None = None,
        objection: Objection | None = None,
        concerns: Callable[[ReceivedEvent], bool] | None = None,
        unhurried: Collection[type[JobEvent]] = (),
        max_records: int = 1000,
        times: ReaderTimes | None = None,
    ) -> None:
        """Build a reader of `topics`.

        It hands out events of the `wanted` types alone, and of these the ones that it `concerns`
        the handler to see; with an `objection`, to the dead letter. Those of `unhurried` types
        wait as long as its pace is patient.
        """
        self._topics = [settings.topic(topic) for topic in topics]
        self._group = group
        self._dead_letters = dead_letters
        self._handle = handle
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._wanted = None if wanted is None else type_names(wanted)
        self._objection = objection
        self._concerns = concerns
        self._unhurried = type_names(unhurried)
        self._max_records = max_records
        self._times = times or ReaderTimes()
        self._bookmarks = Bookmarks(
            database,
            self._topics,
            group,
            commit_every=self._times.commit_every,
            check_every=self._times.check_every,
            call_timeout=self._times.call_timeout,
            commit_retry=self._times.commit_retry,
        )
        self._assignment = _Assignment()
        self._positioned_generation = _NOWHERE
        self._is_careful = False
        self._taken = 0.0
        self._subscriber = broker.subscriber(
            *self._topics,
            group_id=settings.topic(group),
            batch=True,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            listener=self._assignment,
            # Several assignors at once are mishandled by aiokafka.
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            # What an idle reader asks again after; a record that comes is sent at once.
            fetch_max_wait_ms=500,
            # How long the group waits for a member that was killed: what brokers allow at least.
            session_timeout_ms=6000,
            heartbeat_interval_ms=2000,
        )

    @property
    def is_reading(self) -> bool:
        """Whether partitions are assigned and the reader stands at its own position in each."""
        return self._assignment.is_assigned and self._is_positioned

    @property
    def _is_positioned(self) -> bool:
        return self._positioned_generation == self._assignment.generation

    async def run(self) -> None:
        """Read for ever; call after the broker has started. Ends when the consumer is stopped.

        After any failure reading starts again from the stored positions: what a failed poll had
        taken from the client is not lost, and a database that went back is noticed.
        """
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
            except _PASSING as error:
                failures += 1
                self._start_over()
                self._metrics.failures.inc()
                _log.warning(
                    "reading the log failed",
                    group=self._group,
                    error=type(error).__name__,
                    failures=failures,
                )
                await asyncio.sleep(self._times.retry.delay(failures))

    async def commit(self) -> None:
        """Tell Kafka how far this reader came, unless its partitions are no longer its own."""
        if self._subscriber.consumer is not None and self._is_positioned:
            await self._bookmarks.commit(self._subscriber.consumer)

    async def _read_once(self, consumer: AIOKafkaConsumer) -> None:
        if self._assignment.is_assigned and not self._is_positioned:
            await self._seek(consumer)
        elif self._is_positioned and await self._bookmarks.are_lost():
            _log.warning("the database went back, and so does reading", group=self._group)
            self._start_over()
        began = time.monotonic()
        records = await self._poll(consumer)
        if records:
            records = await self._in_company(consumer, records)
        # Whatever was read before the seek of a new assignment is read again after it.
        if not self._is_positioned:
            return
        if not records:
            await self._bookmarks.keep(consumer)
            return
        waited = time.monotonic() - began
        with fetching_held(consumer):
            await self._handle_records(records)
            if self._is_positioned:
                await self._bookmarks.keep_if_due(consumer)
            await asyncio.sleep(self._rest_after(records, waited))

    def _rest_after(self, records: Records, waited: float) -> float:
        """Return how long to rest, in seconds; a reader that has to catch up doesn't."""
        if self._is_full(records):
            return 0.0
        return self._times.pace.rest(waited=waited, taken=self._taken)

    def _is_full(self, records: Records) -> bool:
        return sum(map(len, records.values())) >= self._max_records

    async def _handle_records(self, records: Records) -> None:
        began = time.monotonic()
        batch, letters = read_records(
            records, self._bookmarks.stored, self._group, self._wanted, self._objection
        )
        if self._concerns is not None:
            batch = replace(batch, events=list(filter(self._concerns, batch.events)))
        await self._take_in(batch, letters)
        self._taken = time.monotonic() - began

    async def _take_in(self, batch: Batch, letters: list[OutgoingMessage]) -> None:
        """Have a batch handled; where it would have no effect, keep its progress for the next."""
        if batch.events or batch.invalid or letters:
            progress = self._bookmarks.with_passed(batch.progress)
            await self._apply(replace(batch, progress=progress), letters)
        else:
            self._bookmarks.pass_by(batch.progress)

    async def _in_company(self, consumer: AIOKafkaConsumer, records: Records) -> Records:
        """Wait with records that all have no hurry for others, until their time is up."""
        until = time.monotonic() + self._times.pace.patience
        while are_all_of(records, self._unhurried) and self._is_positioned:
            left = until - time.monotonic()
            if left <= 0 or self._is_careful or self._is_full(records):
                break
            records = joined(records, await self._poll(consumer, math.ceil(left * 1000)))
        return records

    async def _poll(self, consumer: AIOKafkaConsumer, timeout_ms: int = _POLL_MS) -> Records:
        if self._is_careful and self._is_positioned:
            return await self._poll_carefully(consumer)
        try:
            return await _take(consumer, timeout_ms=timeout_ms, max_records=self._max_records)
        except UnicodeDecodeError:
            # Somewhere a header's name is no text, and the client gives up on the whole poll.
            self._start_over()
            self._is_careful = True
            return {}

    async def _poll_carefully(self, consumer: AIOKafkaConsumer) -> Records:
        """Take one record of each partition, and step over the one that can't be read."""
        records: dict[TopicPartition, Sequence[ConsumerRecord]] = {}
        for partition in consumer.assignment():
            try:
                records |= await _take(consumer, partition, timeout_ms=_GLANCE_MS, max_records=1)
            except UnicodeDecodeError:
                offset = await consumer.position(partition)
                await self._take_in(
                    *unreadable_record(partition, offset, self._bookmarks.stored, self._group)
                )
                consumer.seek(partition, offset + 1)
                self._is_careful = False
        if not records:
            self._is_careful = False
        return records

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        generation = self._assignment.generation
        await self._bookmarks.seek(consumer)
        if generation == self._assignment.generation:
            self._positioned_generation = generation

    def _start_over(self) -> None:
        self._positioned_generation = _NOWHERE

    async def _apply(self, batch: Batch, letters: list[OutgoingMessage]) -> None:
        """Handle a batch, again and again, until it works or its partitions are no longer ours."""
        generation = self._assignment.generation
        failures = 0
        while generation == self._assignment.generation:
            self._heartbeat.beat()
            try:
                letters = await self._without_published(letters)
                await self._finish(batch)
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
                return

    async def _without_published(self, letters: list[OutgoingMessage]) -> list[OutgoingMessage]:
        """Publish dead letters; the positions go past their records only after the last of them.

        Raises:
            BusUnavailableError: where any was not acknowledged.

        """
        if letters:
            acknowledged = await self._dead_letters.publish(letters)
            self._metrics.dead_lettered.inc(len(acknowledged))
            if len(acknowledged) < len(letters):
                raise BusUnavailableError("not every dead letter was acknowledged")
        return []

    async def _finish(self, batch: Batch) -> None:
        """Handle a batch; a cancel ends the reading, but not a transaction that has begun."""
        handling = asyncio.ensure_future(self._handle(batch))
        try:
            await asyncio.shield(handling)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait([handling], timeout=self._times.call_timeout)
            if done and handling.exception() is None:
                self._bookmarks.note(batch.progress)
            handling.cancel()
            raise
        self._bookmarks.note(batch.progress)
        self._metrics.handled.inc(len(batch.events))


async def _take(
    consumer: AIOKafkaConsumer, *partitions: TopicPartition, timeout_ms: int, max_records: int
) -> Records:
    # The client's own timeout doesn't cover a rebalance that a dead broker never ends.
    try:
        async with asyncio.timeout(timeout_ms / 1000 + _POLL_MS / 1000):
            return cast(
                "Records",
                await consumer.getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records),
            )
    except TimeoutError:
        return {}
