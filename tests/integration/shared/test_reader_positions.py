"""Where a reader stands: by its own database, which is the truth, and by what Kafka was told."""

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from local_stack.polling import poll_until
from shared.events import ReceivedEvent
from shared.topics import Topic
from tests.integration.shared.conftest import (
    SECONDS,
    Effects,
    Log,
    StartReader,
    wait_until_committed,
)
from tests.support.job_histories import make_job_id

Offsets = dict[TopicPartition, int]


async def test_offsets_are_committed_once_idle(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    await log.write(*range(20))
    async with start_reader(effects):
        await effects.wait_for(*range(20))
        await wait_until_committed(log, effects)


async def test_offsets_whose_commit_failed_are_committed_although_nothing_else_comes(
    log: Log, effects: Effects, start_reader: StartReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failures = AIOKafkaConsumer.commit, iter([KafkaError(), KafkaError()])

    async def commit_at_the_third_try(consumer: AIOKafkaConsumer, offsets: Offsets) -> None:
        for failure in failures:
            raise failure
        await commit(consumer, offsets)

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit_at_the_third_try)
    await log.write(*range(20))
    async with start_reader(effects):
        await effects.wait_for(*range(20))
        await wait_until_committed(log, effects)


async def test_offsets_that_kafka_never_heard_of_are_committed_although_nothing_else_comes(
    log: Log, effects: Effects, start_reader: StartReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit_nothing(_consumer: AIOKafkaConsumer, _offsets: Offsets) -> None:
        raise KafkaError

    await log.write(*range(20))
    with monkeypatch.context() as failing:
        failing.setattr(AIOKafkaConsumer, "commit", commit_nothing)
        async with start_reader(effects):
            await effects.wait_for(*range(20))
    assert await log.committed() == {}

    async with start_reader(effects):
        await wait_until_committed(log, effects)


async def test_stop_commits_what_was_handled(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    await log.write(*range(20))
    async with start_reader(effects):
        await effects.wait_for(*range(20))

    assert await log.committed() == await effects.positions()


async def test_reader_goes_on_where_its_database_stands_and_not_where_kafka_does(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    await log.write(*range(100))
    async with start_reader(effects):
        await effects.wait_for(*range(100))
        await wait_until_committed(log, effects)
    async with effects.database.transaction() as conn:
        await conn.execute("DELETE FROM effects")
        await conn.execute("UPDATE positions SET next_offset = 3")

    again = {
        record.key.decode()
        for record in await log.read(Topic.EVENTS)
        if record.key is not None and record.offset >= 3
    }

    async with start_reader(effects):
        await log.write(100)
        await effects.wait_for_jobs({*again, make_job_id(100)})

    assert set(await effects.counts()) == {*again, make_job_id(100)}


async def test_partition_that_the_database_never_heard_of_is_read_from_its_beginning(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    await log.write(*range(50))
    async with start_reader(effects):
        await effects.wait_for(*range(50))
    async with effects.database.transaction() as conn:
        await conn.execute("TRUNCATE effects, positions")

    async with start_reader(effects):
        await effects.wait_for(*range(50))


async def test_database_that_goes_back_under_a_running_reader_is_filled_again(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    """Even while nothing new arrives to show the gap."""
    await log.write(*range(50))
    async with start_reader(effects):
        await effects.wait_for(*range(50))
        async with effects.database.transaction() as conn:
            await conn.execute("DELETE FROM effects")
            await conn.execute("UPDATE positions SET next_offset = 0")

        await effects.wait_for(*range(50))


async def test_database_that_went_back_is_noticed_by_what_concerns_nobody(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    await log.write(*range(20))
    forgotten = False

    def is_forgotten(_: ReceivedEvent) -> bool:
        return forgotten

    async with start_reader(effects, concerns=is_forgotten):

        async def all_passed() -> bool:
            return sum((await effects.positions()).values()) == 20

        await poll_until(all_passed, seconds=SECONDS)
        forgotten = True
        async with effects.database.transaction() as conn:
            await conn.execute("UPDATE positions SET next_offset = 0")
        await log.write(20)

        await effects.wait_for(*range(21))
