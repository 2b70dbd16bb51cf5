"""How far a reader came: in the service's own database, which is the truth, and as told to Kafka.

Records without effects leave nothing to be stored with. The progress past them is kept in memory
and goes along with the next batch that has effects, or is stored by itself after a while.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from shared.backoff import Backoff
from shared.database import positions
from shared.database.pool import Database
from shared.database.positions import Advance, Progress

_log: Final = structlog.get_logger()


class Bookmarks:
    """The positions of one group in some topics: stored, passed and committed.

    What was passed is stored, and offsets are committed, every `commit_every` seconds and when
    nothing is left to read; whether the database still knows our positions is looked at every
    `check_every`. A call of Kafka may take `call_timeout`; a commit that failed is made again after
    the delay of `commit_retry`.
    """

    def __init__(
        self,
        database: Database,
        topics: list[str],
        group: str,
        *,
        commit_every: float,
        check_every: float,
        call_timeout: float,
        commit_retry: Backoff,
    ) -> None:
        self._database = database
        self._topics = topics
        self._group = group
        self._commit_every = commit_every
        self._check_every = check_every
        self._call_timeout = call_timeout
        self._commit_retry = commit_retry
        self._stored: dict[TopicPartition, int] = {}
        self._passed: dict[TopicPartition, Advance] = {}
        self._uncommitted: dict[TopicPartition, int] = {}
        self._checked_at = self._committed_at = self._commit_not_before = time.monotonic()
        self._commit_failures = 0

    @property
    def stored(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition that the database knows."""
        return self._stored

    async def seek(self, consumer: AIOKafkaConsumer) -> None:
        """Start each partition at the lower of Kafka's committed offset and our own position.

        A partition without a position of ours is read from its beginning: the effects of what
        Kafka says was committed are not in this database.
        """
        self._uncommitted.clear()
        self._passed = {}
        self._stored = await self._load()
        async with asyncio.timeout(self._call_timeout):
            for partition in consumer.assignment():
                own, committed = self._stored.get(partition), await consumer.committed(partition)
                if own is not None and committed is None:
                    self._uncommitted[partition] = own
                start = starting_offset(own, committed)
                if start is None:
                    await consumer.seek_to_beginning(partition)
                else:
                    consumer.seek(partition, start)

    async def are_lost(self) -> bool:
        """Look, where it is time to, whether the database went back while nothing was stored."""
        if time.monotonic() - self._checked_at < self._check_every:
            return False
        stored = await self._load()
        return any(stored.get(partition, 0) < known for partition, known in self._stored.items())

    def with_passed(self, progress: Progress) -> dict[TopicPartition, Advance]:
        """Return a batch's progress together with that past the records before it."""
        return {**self._passed, **progress}

    def pass_by(self, progress: Progress) -> None:
        """Note records without effects."""
        self._passed = self.with_passed(progress)

    def note(self, progress: Progress) -> None:
        """Note what was stored with the effects of a batch, what was passed before it included."""
        self._passed = {}
        for partition, advance in progress.items():
            self._stored[partition] = max(advance)
            self._uncommitted[partition] = advance.next_offset

    async def keep_if_due(self, consumer: AIOKafkaConsumer) -> None:
        """Do as `keep` does where it is time to."""
        if time.monotonic() - self._committed_at >= self._commit_every:
            await self.keep(consumer)

    async def keep(self, consumer: AIOKafkaConsumer) -> None:
        """Store what was passed, and commit."""
        if self._passed:
            async with self._database.connection() as conn:
                await positions.save_alone(conn, self._passed)
            self.note(self._passed)
        await self.commit(consumer)

    async def commit(self, consumer: AIOKafkaConsumer) -> None:
        """Tell Kafka how far this reader came, for lag metrics and as a second opinion.

        Nothing is told for a while after a failure: a dead broker would hold up whatever comes
        meanwhile, and a stop.
        """
        if not self._uncommitted or time.monotonic() < self._commit_not_before:
            return
        # What a cancel loses here is committed by whoever reads these partitions next.
        offsets, self._uncommitted = self._uncommitted, {}
        self._committed_at = time.monotonic()
        try:
            async with asyncio.timeout(self._call_timeout):
                await consumer.commit(offsets)
        except (KafkaError, IllegalStateError, OSError) as error:
            # Own positions are the truth, but whoever looks at the lag of an idle group sees these.
            self._uncommitted = {**offsets, **self._uncommitted}
            self._commit_failures += 1
            delay = self._commit_retry.delay(self._commit_failures)
            self._commit_not_before = time.monotonic() + delay
            _log.info("offset commit failed", group=self._group, error=type(error).__name__)
        else:
            self._commit_failures = 0

    async def _load(self) -> dict[TopicPartition, int]:
        async with self._database.connection() as conn:
            stored = await positions.load(conn, self._topics)
        self._checked_at = time.monotonic()
        return stored


def starting_offset(own: int | None, committed: int | None) -> int | None:
    """Return where reading starts; None for the beginning of the partition."""
    if own is None:
        return None
    return own if committed is None else min(own, committed)
