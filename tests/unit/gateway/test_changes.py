"""Waiting for changes: each is read once, and nothing is kept for who has left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from gateway.domain import (
    Job,
    JobDeletedError,
    JobStatus,
    TooManyWatchersError,
    Vector,
    WatchEndedError,
)
from gateway.metrics import ChangeMetrics
from gateway.service.changes import Changes
from shared.job_id import created_at
from tests.support.gateway import FakeGateway

LIMIT = 10.0


def stored(gateway: FakeGateway, *, vector: Vector = Vector(1, 0), tenant: str = "default") -> Job:  # noqa: B008
    job_id = gateway.job_ids.new(tenant)
    job = replace(Job.pending(job_id, created_at(job_id)), vector=vector)
    return gateway.read_model.add(job, tenant)


@asynccontextmanager
async def running(changes: Changes) -> AsyncIterator[None]:
    task = asyncio.create_task(changes.run())
    try:
        async with asyncio.timeout(LIMIT):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_read_serves_all_who_wait_for_a_job_and_none_those_who_dont(
    gateway: FakeGateway,
) -> None:
    changes, job, other = gateway.changes(), stored(gateway), stored(gateway)
    async with running(changes):
        with (
            changes.watch(job.job_id, "default") as one,
            changes.watch(job.job_id, "default") as two,
        ):
            changes.wake(f"{job.job_id} {other.job_id}")
            found = (await one.beyond(Vector()), await two.beyond(Vector()))
    assert found == (job, job)
    assert gateway.read_model.reads == [[job.job_id]]


async def test_what_changes_together_is_read_together(gateway: FakeGateway) -> None:
    changes, jobs = gateway.changes(), [stored(gateway) for _ in range(3)]
    async with running(changes):
        with (
            changes.watch(jobs[0].job_id, "default") as one,
            changes.watch(jobs[1].job_id, "default") as two,
            changes.watch(jobs[2].job_id, "default") as three,
        ):
            changes.wake("")  # notifications may have been missed
            await asyncio.gather(*(watch.beyond(Vector()) for watch in (one, two, three)))
    assert [sorted(read) for read in gateway.read_model.reads] == [
        sorted(job.job_id for job in jobs)
    ]


async def test_nothing_is_read_or_remembered_where_nobody_waits(gateway: FakeGateway) -> None:
    changes, job = gateway.changes(capacity=1), stored(gateway)
    async with running(changes):
        for _ in range(3):
            with changes.watch(job.job_id, "default"):
                changes.wake(job.job_id)
        changes.wake("")
        changes.wake(job.job_id)
        for _ in range(5):
            await asyncio.sleep(0)
    assert gateway.read_model.reads == []


async def test_a_state_that_is_not_beyond_the_known_one_is_not_shown(gateway: FakeGateway) -> None:
    changes, job = gateway.changes(), stored(gateway, vector=Vector(2, 5))
    async with running(changes):
        with changes.watch(job.job_id, "default") as watch:
            waiting = asyncio.create_task(watch.beyond(Vector(2, 5)))
            for vector in (Vector(2, 5), Vector(1, 0), Vector(3, 4), Vector(2, 6)):
                newest = gateway.read_model.replace(replace(job, vector=vector))
                reads = len(gateway.read_model.reads)
                changes.wake(job.job_id)
                while len(gateway.read_model.reads) == reads:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            assert await waiting == newest


async def test_a_database_that_is_away_delays_and_loses_nothing(gateway: FakeGateway) -> None:
    changes, job = gateway.changes(), stored(gateway)
    gateway.read_model.is_away = True
    async with running(changes):
        with changes.watch(job.job_id, "default") as watch:
            changes.wake(job.job_id)
            waiting = asyncio.create_task(watch.beyond(Vector()))
            await asyncio.sleep(0)
            gateway.read_model.is_away = False
            assert await waiting == job


async def test_no_tenant_is_shown_the_job_of_another(gateway: FakeGateway) -> None:
    changes = gateway.changes()
    mine, theirs = stored(gateway), stored(gateway, tenant="other")
    async with running(changes):
        with (
            changes.watch(theirs.job_id, "default") as stolen,
            changes.watch(mine.job_id, "default") as own,
        ):
            changes.wake("")
            assert await own.beyond(Vector()) == mine
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stolen.beyond(Vector()), 0.01)


@pytest.mark.parametrize("is_rival_first", [True, False])
async def test_who_asks_for_the_job_of_another_tenant_keeps_nobody_from_hearing_of_it(
    gateway: FakeGateway, *, is_rival_first: bool
) -> None:
    changes, job = gateway.changes(), stored(gateway, tenant="acme")
    tenants = ["rival", "acme"] if is_rival_first else ["acme", "rival"]
    async with running(changes):
        with (
            changes.watch(job.job_id, tenants[0]) as one,
            changes.watch(job.job_id, tenants[1]) as two,
        ):
            watches = dict(zip(tenants, (one, two), strict=True))
            changes.wake(job.job_id)
            assert await watches["acme"].beyond(Vector()) == job
            gateway.read_model.deleted.add(job.job_id)
            changes.wake(job.job_id)
            with pytest.raises(JobDeletedError):
                await watches["acme"].beyond(job.vector)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watches["rival"].beyond(Vector()), 0.01)


async def test_a_deletion_ends_the_wait(gateway: FakeGateway) -> None:
    changes, job = gateway.changes(), stored(gateway)
    gateway.read_model.deleted.add(job.job_id)
    async with running(changes):
        with changes.watch(job.job_id, "default") as watch:
            changes.wake(job.job_id)
            with pytest.raises(JobDeletedError):
                await watch.beyond(Vector(1, 0))


async def test_a_stop_ends_all_waits_and_lets_none_begin(gateway: FakeGateway) -> None:
    changes, job = gateway.changes(), stored(gateway)
    with changes.watch(job.job_id, "default") as watch:
        waiting = asyncio.create_task(watch.beyond(Vector(9, 9)))
        await asyncio.sleep(0)
        changes.stop()
        with pytest.raises(WatchEndedError):
            await waiting
        with pytest.raises(TooManyWatchersError), changes.watch(job.job_id, "default"):
            pass


async def test_there_is_room_for_so_many_and_again_when_they_leave(gateway: FakeGateway) -> None:
    registry = CollectorRegistry()
    metrics = ChangeMetrics(registry)
    changes = Changes(gateway.read_model, capacity=2, tenant_capacity=9, metrics=metrics)
    job = stored(gateway)
    for _ in range(2):
        with changes.watch(job.job_id, "default"), changes.watch(job.job_id, "default"):
            assert registry.get_sample_value("report_jobs_gateway_watches") == 2
            with pytest.raises(TooManyWatchersError), changes.watch(job.job_id, "default"):
                pass
    assert registry.get_sample_value("report_jobs_gateway_watches") == 0


async def test_no_tenant_takes_the_room_of_all(gateway: FakeGateway) -> None:
    changes, job = gateway.changes(capacity=3, tenant_capacity=2), stored(gateway)
    for _ in range(2):
        with changes.watch(job.job_id, "greedy"), changes.watch(job.job_id, "greedy"):
            with pytest.raises(TooManyWatchersError), changes.watch(job.job_id, "greedy"):
                pass
            with changes.watch(job.job_id, "default"):
                pass


async def test_a_slow_waiter_gets_the_newest_state_and_no_queue_of_old_ones(
    gateway: FakeGateway,
) -> None:
    changes, job = gateway.changes(), stored(gateway)
    async with running(changes):
        with changes.watch(job.job_id, "default") as slow:
            for events in range(1, 50):
                newest = gateway.read_model.replace(
                    replace(job, status=JobStatus.RUNNING, vector=Vector(1, events))
                )
                changes.wake(job.job_id)
                await asyncio.sleep(0)
            with changes.watch(job.job_id, "default") as other:
                changes.wake(job.job_id)
                assert await other.beyond(Vector(1, 48)) == newest
            assert await slow.beyond(Vector()) == newest
