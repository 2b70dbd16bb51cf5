"""The log reader beside servers that are killed, put back, or not there yet."""

import asyncio
import gc
from contextlib import AsyncExitStack

from tests.integration.shared.conftest import (
    IMPATIENT,
    SECONDS,
    Effects,
    Log,
    StartReader,
    counting_database,
    reader_factory,
    wait_until_committed,
)
from tests.support.servers import LocalKafka, LocalPostgres


async def test_stop_while_connecting_leaves_nothing_open(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    """The clients complain when they are not closed, and here that fails the test."""
    for turns in range(1, 200, 8):
        async with start_reader(effects):
            for _ in range(turns):
                await asyncio.sleep(0)
        gc.collect()


async def test_batch_waits_for_a_database_that_was_killed(
    log: Log, local_postgres: LocalPostgres
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
    log: Log, local_postgres: LocalPostgres
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
    local_log: Log, local_kafka: LocalKafka, effects: Effects
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
    local_log: Log, local_kafka: LocalKafka, effects: Effects
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
    local_log: Log, local_kafka: LocalKafka, effects: Effects
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
