"""The log reader on real servers: what is handled, from where, and what gets in its way."""

import asyncio
import gc
import json
from contextlib import AsyncExitStack
from dataclasses import replace

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from local_stack.polling import poll_until
from shared.bus import Batch, Pace
from shared.events import (
    JobCompleted,
    JobEvent,
    JobStarted,
    ReceivedEvent,
    RequestedDateRange,
    RequestedReport,
    encode,
)
from shared.topics import Topic
from tests.integration.shared.conftest import (
    IMPATIENT,
    SECONDS,
    TIMES,
    Effects,
    Log,
    StartReader,
    counting_database,
    message,
    reader_factory,
    wait_until_committed,
)
from tests.support.job_histories import NOON, JobHistory, make_job_id
from tests.support.servers import LocalKafka, LocalPostgres

Offsets = dict[TopicPartition, int]

REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
)


def good_headers(number: int) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in message(number).headers.items()]


async def test_every_record_is_handled_once_when_nothing_goes_wrong(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    await log.write(*range(500))

    async with start_reader(effects, max_records=50):
        await effects.wait_for(*range(500))

    assert set((await effects.counts()).values()) == {1}


async def test_idle_reader_wakes_for_each_record(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    async with start_reader(effects) as reading:
        await reading.wait_until_reading()
        for number in range(10):
            await log.write(number)
            await effects.wait_for(number)


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


async def test_stop_lets_the_batch_in_hand_finish(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    handle = effects.handle

    async def handle_slowly(batch: Batch) -> None:
        begun.set()
        await go_on.wait()
        await handle(batch)

    effects.handle = handle_slowly  # type: ignore[method-assign] # a slower copy of itself
    await log.write(1)
    async with start_reader(effects):
        await begun.wait()
        asyncio.get_running_loop().call_later(0.1, go_on.set)

    assert await effects.counts() == {make_job_id(1): 1}


async def test_what_comes_during_a_batch_makes_one_batch(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    """Though it came one by one, and the client would have fetched the first alone."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    handle, sizes = effects.handle, list[int]()

    async def handle_slowly(batch: Batch) -> None:
        begun.set()
        await go_on.wait()
        await handle(batch)
        sizes.append(len(batch.events))

    effects.handle = handle_slowly  # type: ignore[method-assign] # a slower copy of itself
    await log.write(0, partition=0)
    async with start_reader(effects):
        await begun.wait()
        for number in range(1, 6):
            await log.write(number, partition=0)
        go_on.set()
        await effects.wait_for(*range(6))

    assert sizes == [1, 5]


async def test_event_without_hurry_waits_for_one_that_has_it(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    handle, batches = effects.handle, list[list[type[JobEvent]]]()

    async def note_and_handle(batch: Batch) -> None:
        batches.append([type(received.event) for received in batch.events])
        await handle(batch)

    effects.handle = note_and_handle  # type: ignore[method-assign] # with notes
    times = replace(TIMES, pace=Pace(patience=3600))
    zero, one = (TopicPartition(log.settings.topic(Topic.EVENTS), number) for number in (0, 1))
    async with start_reader(effects, times=times, unhurried=[JobStarted]) as reading:
        await reading.wait_until_reading()
        await log.write(1, 2, partition=0)
        await reading.wait_until_taken(zero, 2)
        await log.write(3, partition=1)
        await reading.wait_until_taken(one, 1)
        assert batches == []
        history = JobHistory(make_job_id(1), REQUEST)
        end = encode(history.completed(1), source="test", time=NOON)
        headers = [(name, value.encode()) for name, value in end.headers.items()]
        await log.write_raw(end.value, key=end.key, headers=headers, partition=1)
        await effects.wait_for(1, 2, 3)

    assert [sorted(names, key=str) for names in batches] == [[JobCompleted, *[JobStarted] * 3]]


async def test_event_without_hurry_is_handled_alone_when_its_time_is_up(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    times = replace(TIMES, pace=Pace(patience=0.1))
    async with start_reader(effects, times=times, unhurried=[JobStarted]):
        await log.write(1)
        await effects.wait_for(1)


async def test_events_that_concern_nobody_cost_no_transaction_each_but_are_passed_for_good(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    wanted = make_job_id(1)
    await log.write(*range(20))

    async with start_reader(effects, concerns=lambda received: received.event.job_id == wanted):
        await effects.wait_for(1)
        for number in range(20, 30):
            await log.write(number)

        async def all_passed() -> bool:
            return sum((await effects.positions()).values()) == 30

        await poll_until(all_passed, seconds=SECONDS)
        # A stop between the storing of a position and its answer leaves it uncommitted.
        await wait_until_committed(log, effects)

    assert await effects.counts() == {wanted: 1}
    assert effects.batches == 1


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


async def test_batch_whose_handling_failed_is_read_again(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    """Whatever the database said, such as that a table isn't there yet."""
    failures = iter([asyncpg.UndefinedTableError("no such table")])
    handle = effects.handle

    async def handle_at_the_second_try(batch: Batch) -> None:
        for failure in failures:
            raise failure
        await handle(batch)

    effects.handle = handle_at_the_second_try  # type: ignore[method-assign] # fails once
    await log.write(*range(10))
    async with start_reader(effects):
        await effects.wait_for(*range(10))


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


async def test_members_that_join_and_leave_lose_no_record(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    total = 3000
    writing = asyncio.create_task(_write_in_steps(log, total))
    for _ in range(3):
        async with AsyncExitStack() as readers:
            for _ in range(2):
                reading = await readers.enter_async_context(start_reader(effects, max_records=20))
                await reading.wait_until_reading()
            await _wait_for_progress(effects, total)
    async with start_reader(effects):
        await writing
        await effects.wait_for(*range(total))

        async def all_stored() -> bool:
            return sum((await effects.positions()).values()) == total

        await poll_until(all_stored, seconds=SECONDS)


async def _wait_for_progress(effects: Effects, total: int) -> None:
    wanted = effects.batches + 5

    async def has_advanced() -> bool:
        return effects.batches >= wanted or len(await effects.counts()) == total

    await poll_until(has_advanced, seconds=SECONDS)


async def _write_in_steps(log: Log, total: int) -> None:
    for start in range(0, total, 100):
        await log.write(*range(start, start + 100))


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
async def test_records_are_read_however_they_were_compressed(
    log: Log, effects: Effects, start_reader: StartReader, codec: str
) -> None:
    """A topic's administrator may choose any codec; one we lacked would stop the stream."""
    sent = message(1)
    async with AIOKafkaProducer(
        bootstrap_servers=log.settings.bootstrap_servers, compression_type=codec
    ) as producer:
        await producer.send_and_wait(
            log.settings.topic(sent.topic), sent.value, key=sent.key, headers=good_headers(1)
        )

    async with start_reader(effects):
        await effects.wait_for(1)


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("value", "key", "headers", "reason"),
        [
            (b"{no json", b"key", good_headers(7), "JSON"),
            (b"[]", b"key", good_headers(7), "body"),
            (b"\xff\xfe", b"key", good_headers(7), "JSON"),
            (b"{}", b"key", [], "no CloudEvent"),
            (b"{}", b"key", [("ce_type", b"\xff\xfe"), ("ce_type", b"")], "no CloudEvent"),
            (b"{}", b"key", good_headers(7), "jobId"),
            (None, b"key", good_headers(7), "JSON"),
            (b"{}", None, [], "no CloudEvent"),
            (
                message(7).value.replace(b'"worker"', b'"wor\\u0000ker"'),
                b"",
                good_headers(7),
                "NUL",
            ),
            (
                message(7).value.replace(b'"run":1', b'"run":99999999999'),
                b"",
                good_headers(7),
                "run",
            ),
            (b"x" * 960 * 1024, b"key", good_headers(7), "left out"),
        ],
        ids=lambda value: str(value)[:20],
    )
    async def test_goes_to_the_dead_letter_and_its_neighbours_are_handled(
        self,
        log: Log,
        effects: Effects,
        start_reader: StartReader,
        value: bytes | None,
        key: bytes | None,
        headers: list[tuple[str, bytes]],
        reason: str,
    ) -> None:
        await log.write(1, partition=0)
        offset = await log.write_raw(value, key=key, headers=headers)
        await log.write(2, partition=0)

        async with start_reader(effects):
            await effects.wait_for(1, 2)

        (letter,) = await log.read(Topic.DEAD_LETTER)
        told = {name: text.decode() for name, text in letter.headers}
        assert told["dl_topic"] == log.settings.topic(Topic.EVENTS)
        assert (told["dl_partition"], told["dl_offset"]) == ("0", str(offset))
        assert reason in told["dl_reason"]
        assert told["dl_consumer"] == "reader"
        if "left out" not in reason:
            assert (letter.key or b"", letter.value or b"") == (key or b"", value or b"")
        assert set((await effects.counts()).values()) == {1}

    async def test_header_name_that_is_no_text_costs_that_record_alone(
        self, log: Log, effects: Effects, start_reader: StartReader
    ) -> None:
        await log.write(*range(30), partition=0)
        await log.write_unreadable(partition=0)
        await log.write_unreadable(partition=0)
        await log.write(*range(30, 60), partition=0)
        await log.write(*range(60, 90), partition=1)
        await log.write_unreadable(partition=1)

        async with start_reader(effects) as reading:
            await effects.wait_for(*range(90))
            await log.write(90, partition=1)
            await effects.wait_for(90)
            # It may be reading the other partition again, from where it was committed.
            await reading.wait_until_reading()

        letters = await log.read(Topic.DEAD_LETTER)
        told = [{name: text.decode() for name, text in letter.headers} for letter in letters]
        assert {(letter["dl_partition"], letter["dl_offset"]) for letter in told} == {
            ("0", "30"),
            ("0", "31"),
            ("1", "30"),
        }
        assert {letter["dl_left_out"] for letter in told} == {"true"}

    async def test_header_value_that_is_no_text_is_no_reason_to_refuse_the_record(
        self, log: Log, effects: Effects, start_reader: StartReader
    ) -> None:
        sent = message(1)
        await log.write_raw(sent.value, headers=[*good_headers(1), ("note", b"\xff\xfe")])

        async with start_reader(effects):
            await effects.wait_for(1)

        assert await log.read(Topic.DEAD_LETTER) == []

    async def test_event_type_of_a_later_version_is_passed_over(
        self, log: Log, effects: Effects, start_reader: StartReader
    ) -> None:
        headers = [("ce_id", b"1"), ("ce_type", b"report-jobs.JobDreamt.v9")]
        await log.write_raw(json.dumps({"a": 1}).encode(), headers=headers)
        await log.write(1, partition=0)

        async with start_reader(effects):
            await effects.wait_for(1)

        assert await log.read(Topic.DEAD_LETTER) == []
        position = TopicPartition(log.settings.topic(Topic.EVENTS), 0)
        assert (await effects.positions())[position] == 2


async def test_stop_while_connecting_leaves_nothing_open(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    """The clients complain when they are not closed, and here that fails the test."""
    for turns in range(1, 200, 8):
        async with start_reader(effects):
            for _ in range(turns):
                await asyncio.sleep(0)
        gc.collect()


class TestServersThatFail:
    async def test_batch_waits_for_a_database_that_was_killed(
        self, log: Log, local_postgres: LocalPostgres
    ) -> None:
        start_reader = reader_factory(log.settings)
        async with (
            local_postgres.create_database() as urls,
            counting_database(urls.status_projector) as effects,
            start_reader(effects),
        ):
            await log.write(*range(10))
            await effects.wait_for(*range(10))
            # A batch whose commit was still to be answered would be handled again.
            await wait_until_committed(log, effects)
            await local_postgres.kill()
            await log.write(*range(10, 20))
            await local_postgres.start()

            await effects.wait_for(*range(20))

            assert set((await effects.counts()).values()) == {1}

    async def test_database_put_back_to_an_older_copy_is_filled_again(
        self, log: Log, local_postgres: LocalPostgres
    ) -> None:
        start_reader = reader_factory(log.settings)
        async with (
            local_postgres.create_database() as urls,
            counting_database(urls.status_projector) as effects,
            start_reader(effects),
        ):
            await log.write(*range(10))
            await effects.wait_for(*range(10))
            copy = await local_postgres.save_copy()
            await log.write(*range(10, 20))
            await effects.wait_for(*range(20))

            await local_postgres.put_back(copy)
            await log.write(20)

            await effects.wait_for(*range(21))

    async def test_reading_goes_on_after_the_broker_was_killed(
        self, local_log: Log, local_kafka: LocalKafka, effects: Effects
    ) -> None:
        start_reader = reader_factory(local_log.settings, IMPATIENT)
        async with start_reader(effects):
            await local_log.write(*range(10))
            await effects.wait_for(*range(10))

            await local_kafka.kill()
            await local_kafka.start()
            await local_log.write(*range(10, 20))

            await effects.wait_for(*range(20))

    async def test_reader_starts_while_the_broker_is_away(
        self, local_log: Log, local_kafka: LocalKafka, effects: Effects
    ) -> None:
        await local_log.write(*range(10))
        start_reader = reader_factory(local_log.settings, IMPATIENT)
        await local_kafka.stop()
        try:
            async with start_reader(effects) as reading:
                assert not reading.reader.is_reading
                await local_kafka.start()
                await effects.wait_for(*range(10))
        finally:
            await local_kafka.restart()

    async def test_stop_ends_while_the_broker_is_dead(
        self, local_log: Log, local_kafka: LocalKafka, effects: Effects
    ) -> None:
        start_reader = reader_factory(local_log.settings, IMPATIENT)
        async with AsyncExitStack() as stopping:
            reading = await stopping.enter_async_context(start_reader(effects))
            await local_log.write(1)
            await effects.wait_for(1)
            await reading.wait_until_reading()
            await local_kafka.kill()
            try:
                async with asyncio.timeout(SECONDS):
                    await stopping.aclose()
            finally:
                await local_kafka.start()
