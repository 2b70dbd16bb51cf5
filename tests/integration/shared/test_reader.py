"""The log reader on real servers: what is handled, how often, and in which company."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from local_stack.polling import poll_until
from shared.bus import Batch, Pace
from shared.events import (
    JobCompleted,
    JobEvent,
    JobStarted,
    RequestedDateRange,
    RequestedReport,
    byte_headers,
    encode,
)
from shared.topics import Topic
from tests.integration.shared.conftest import (
    SECONDS,
    TIMES,
    Effects,
    Log,
    StartReader,
    message,
    wait_until_committed,
)
from tests.support.job_histories import NOON, JobHistory, make_job_id

REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
)


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
        await log.write_raw(end.value, key=end.key, headers=byte_headers(end.headers), partition=1)
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
            log.settings.topic(sent.topic),
            sent.value,
            key=sent.key,
            headers=byte_headers(sent.headers),
        )

    async with start_reader(effects):
        await effects.wait_for(1)
