"""Servers that go away while jobs run: nothing is re-run, nothing is lost."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from local_stack.paths import StackDirectory
from local_stack.polling import poll_until
from tests.integration.report_worker.conftest import CLOSED_PORT
from tests.support.report_worker import PATIENCE, Gate, WorkerBench, eventually, worker_bench
from tests.support.servers import LocalKafka, LocalPostgres, run_postgres

_ENDS = "SELECT count(*) FROM report_worker.outbox WHERE headers LIKE '%JobCompleted%'"


@dataclass(frozen=True, slots=True)
class Apart:
    """Workers whose queue and whose reports' source are on different servers."""

    bench: WorkerBench
    gate: Gate


@pytest.fixture
async def apart(
    local_kafka: LocalKafka, local_postgres: LocalPostgres, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Apart]:
    """The queue on the server that the test may kill, the source on one of its own."""
    async with (
        run_postgres(StackDirectory(tmp_path / "source")) as source,
        source.create_database() as source_urls,
        Gate.closed(source_urls.admin) as gate,
        local_postgres.create_database() as urls,
        worker_bench(
            tmp_path,
            bootstrap_servers=local_kafka.bootstrap_servers,
            topic_prefix=topic_prefix,
            database_url=urls.report_worker,
            sources={"orders": source_urls.report_source, "away": CLOSED_PORT},
        ) as bench,
    ):
        yield Apart(bench, gate)


async def test_an_outage_of_the_database_longer_than_a_lease_re_runs_nothing(
    apart: Apart, local_postgres: LocalPostgres
) -> None:
    bench = apart.bench
    # Nobody takes another's lease within two beats and this time of its own return: 10.4 s.
    times = {"lease": "5", "database_connect_timeout": "10"}
    workers = [await bench.start_worker(**times) for _ in range(2)]
    jobs = await bench.submit_many(4, "GATED")
    await apart.gate.wait_for(4)
    beats_before = [worker.log.count("beat failed") for worker in workers]
    await local_postgres.kill()
    try:
        # Beats come every 0.2 s at the soonest, and a lease holds 5 s.
        for worker, before in zip(workers, beats_before, strict=True):
            await eventually(
                lambda worker=worker, before=before: worker.log.count("beat failed") >= before + 27  # type: ignore[misc]
            )
    finally:
        await local_postgres.start()
    later = await bench.submit("EMPTY")
    await apart.gate.open()
    for job in [*jobs, later]:
        await bench.told(job, "1 started", "1 completed")


async def test_results_wait_in_the_outbox_while_kafka_is_away(
    apart: Apart, local_kafka: LocalKafka
) -> None:
    bench = apart.bench
    await bench.start_worker()
    jobs = await bench.submit_many(2, "GATED")
    await apart.gate.wait_for(2)
    await eventually(lambda: all(bench.events.story(job) == ["1 started"] for job in jobs))
    await local_kafka.kill()
    try:
        await apart.gate.open()
        await wait_for_kept_results(bench, len(jobs))
    finally:
        await local_kafka.start()
    for job in jobs:
        await bench.told(job, "1 started", "1 completed")
    await wait_for_kept_results(bench, 0)


async def test_results_of_a_killed_worker_are_published_by_another(
    apart: Apart, local_kafka: LocalKafka
) -> None:
    bench = apart.bench
    worker = await bench.start_worker()
    jobs = await bench.submit_many(2, "GATED")
    await apart.gate.wait_for(2)
    await eventually(lambda: all(bench.events.story(job) == ["1 started"] for job in jobs))
    await local_kafka.kill()
    try:
        await apart.gate.open()
        await wait_for_kept_results(bench, len(jobs))
        await worker.kill()
    finally:
        await local_kafka.start()
    await bench.start_worker()
    for job in jobs:
        await bench.told(job, "1 started", "1 completed")
    await wait_for_kept_results(bench, 0)


async def wait_for_kept_results(bench: WorkerBench, count: int) -> None:
    """Return when the outbox holds so many ends; beginnings stay there for a while, too."""
    connection = await asyncpg.connect(bench.environment["REPORT_WORKER_DATABASE_URL"])

    async def are_there() -> bool:
        return bool(await connection.fetchval(_ENDS) == count)

    try:
        await poll_until(are_there, seconds=PATIENCE)
    finally:
        await connection.close()
