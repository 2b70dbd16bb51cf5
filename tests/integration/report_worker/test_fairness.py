"""Tenants in real workers: nobody waits behind all that somebody else asked for."""

from tests.support.report_worker import Gate, WorkerBench, until_queued
from tests.support.servers import DatabaseUrls


async def test_a_tenant_s_job_starts_next_however_many_of_another_s_wait(
    bench: WorkerBench, database: DatabaseUrls, gate: Gate
) -> None:
    await bench.start_worker(slots="2")
    running = await bench.submit_many(2, "GATED")
    await gate.wait_for(2)
    waiting = await bench.submit_many(60)
    other = await bench.submit("EMPTY", tenant="globex")
    await until_queued(database, 61)
    await gate.open()
    await bench.all_ended(*running, *waiting, other)
    other_at = bench.events.started_at(other)
    earlier = [job for job in waiting if bench.events.started_at(job) < other_at]
    assert len(earlier) <= 1


async def test_a_tenant_has_no_more_jobs_running_than_its_limit_and_leaves_slots_to_others(
    bench: WorkerBench, database: DatabaseUrls, gate: Gate
) -> None:
    await bench.start_worker(slots="2", tenant_limit="1")
    await bench.start_worker(slots="2", tenant_limit="1")
    jobs = await bench.submit_many(3, "GATED")
    await gate.wait_for(1)
    other = await bench.submit("GATED", tenant="globex")
    await gate.wait_for(2)
    await until_queued(database, 2)
    await bench.all_ended(await bench.submit("EMPTY", tenant="initech"))
    states = [await bench.states(job) for job in jobs]
    assert sorted(states) == [["queued"], ["queued"], ["running"]]
    await gate.open()
    await bench.all_ended(*jobs, other)
