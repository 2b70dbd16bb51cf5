"""Workers killed in the middle of a transaction: it happened or it didn't, never by half.

A transaction of one statement may still commit when its client is gone. Then the run waits for a
lease that nobody renews, or has ended; otherwise nothing has changed. Another worker does what is
left in any case.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from local_stack.polling import poll_until
from tests.support.report_worker import PATIENCE, SHORT_LEASE, Gate, WorkerBench, until_queued
from tests.support.servers import DatabaseUrls

STORIES = (
    ["1 started", "1 completed"],
    ["1 started", "1 LOST", "2 started", "2 completed"],
)


class ClosedOutbox:
    """Keeps every transaction that tells of something from committing."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def held(cls, dsn: str) -> AsyncIterator["ClosedOutbox"]:
        """Lock the outbox during the body, against everything but reading."""
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE report_worker.outbox IN EXCLUSIVE MODE")
                yield cls(connection)
        finally:
            connection.terminate()

    async def is_waited_for(self, statement: str) -> None:
        """Return when a transaction waits in a statement whose first 1,024 characters match."""

        async def waits() -> bool:
            # A transaction sees the activity of one moment, unless it says otherwise.
            await self._connection.execute("SELECT pg_stat_clear_snapshot()")
            return bool(
                await self._connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                    " AND application_name = 'report-worker' AND query ~ $1",
                    statement,
                )
            )

        await poll_until(waits, seconds=PATIENCE)


async def test_a_worker_killed_while_it_takes_in_and_claims_loses_no_job(
    bench: WorkerBench, database: DatabaseUrls
) -> None:
    worker = await bench.start_worker(lease=SHORT_LEASE)
    await worker.is_ready()
    async with ClosedOutbox.held(database.admin) as outbox:
        job = await bench.submit("EMPTY")
        await outbox.is_waited_for("INSERT INTO (runs|outbox)")
        await worker.kill()
    await bench.start_worker()
    await bench.all_ended(job)
    assert bench.events.story(job) in STORIES


async def test_a_worker_killed_while_it_claims_what_waits_loses_no_job(
    bench: WorkerBench, database: DatabaseUrls, gate: Gate
) -> None:
    busy = await bench.start_worker(slots="1", beat="600", lease="1800")
    running = await bench.submit("GATED")
    await gate.wait_for(1)
    waiting = await bench.submit("EMPTY")
    await until_queued(database, 1)
    async with ClosedOutbox.held(database.admin) as outbox:
        claiming = await bench.start_worker()
        await outbox.is_waited_for("INSERT INTO outbox")
        await claiming.kill()
    await bench.start_worker()
    await bench.told(waiting, "1 started", "1 completed")
    await gate.open()
    await bench.told(running, "1 started", "1 completed")
    assert await busy.stop() == 0


async def test_a_worker_killed_while_it_records_an_end_and_claims_what_follows_loses_neither(
    bench: WorkerBench, database: DatabaseUrls, gate: Gate
) -> None:
    worker = await bench.start_worker(slots="1", lease=SHORT_LEASE)
    running = await bench.submit("GATED")
    await gate.wait_for(1)
    waiting = await bench.submit("EMPTY")
    await until_queued(database, 1)
    async with ClosedOutbox.held(database.admin) as outbox:
        await gate.open()
        await outbox.is_waited_for("WITH finished AS")
        await worker.kill()
    await bench.start_worker()
    await bench.all_ended(running, waiting)
    assert bench.events.story(running) == ["1 started", "1 LOST", "2 started", "2 completed"]
    assert bench.events.story(waiting) == ["1 started", "1 completed"]


async def test_a_worker_killed_while_it_records_an_end_ends_no_run_twice(
    bench: WorkerBench, database: DatabaseUrls, gate: Gate
) -> None:
    worker = await bench.start_worker(lease=SHORT_LEASE)
    job = await bench.submit("GATED")
    await bench.told(job, "1 started")
    await gate.wait_for(1)
    async with ClosedOutbox.held(database.admin) as outbox:
        await gate.open()
        await outbox.is_waited_for("WITH finished AS")
        await worker.kill()
    await bench.start_worker()
    await bench.all_ended(job)
    assert bench.events.story(job) in STORIES
