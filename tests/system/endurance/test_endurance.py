"""Thousands of jobs while everything crashes, freezes and goes away: each ends, once, as it should.

ENDURANCE_JOBS is their number; ENDURANCE_SEED repeats what a run's clients asked for and what
disturbed it, in the same order, though not to the millisecond.
"""

import asyncio
import json
import os
import random
import secrets
from collections import Counter
from itertools import chain
from typing import Final

import pytest

from shared.topics import Topic
from tests.support.containers import Announce
from tests.support.log_audit import Log, breaches, tell
from tests.support.stack import TWO_OF_EACH
from tests.system.endurance.checks import (
    assert_each_ended_as_it_should,
    assert_listing_agrees,
    assert_no_service_was_surprised,
    assert_reports_are_there,
    assert_webhooks_are_those_of_the_log,
    outcome,
    wait_until_swept,
    wait_until_told,
)
from tests.system.endurance.clients import Clients, Promises, clients
from tests.system.endurance.disturbances import Disturbances
from tests.system.endurance.plans import UNRULY_TYPE, install_unruly, plan
from tests.system.installation import Installation, Servers, run_installation
from tests.system.log import read_events
from tests.system.processes import wait_until_only
from tests.system.queue import wait_until_notifier_is_done, wait_until_worker_is_done
from tests.system.read_model import wait_until_verified

PER_SECOND: Final = 25.0
SLOTS: Final = 3
WORKER: Final = {
    "REPORT_WORKER_LEASE": "3",
    "REPORT_WORKER_SLOTS": str(SLOTS),
    # The servers are disturbed more often than a run may otherwise fail or be lost.
    "REPORT_WORKER_MAX_FAILURES": "100",
    "REPORT_WORKER_MAX_LOSSES": "12",
    "REPORT_WORKER_RETRY_FIRST": "0.1",
    "REPORT_WORKER_RETRY_LONGEST": "1",
    "REPORT_WORKER_SWEEP_EVERY": "2",
    "REPORT_WORKER_SWEEP_GRACE": "5",
}
NOTIFIER: Final = {
    "NOTIFIER_LEASE": "10",
    "NOTIFIER_POLL": "1",
    "NOTIFIER_RETRY_DELAYS": json.dumps([0, 0.1, 0.2, 0.5, *[1] * 20]),
}


async def release(clients: Clients, seed: str, jobs: int, over: asyncio.Event) -> None:
    """Let the clients begin one after the other, and return when all have what they want.

    `over` is set once the last has begun.
    """
    draw, clock = random.Random(f"{seed}/release"), asyncio.get_running_loop().time
    due = clock()
    async with asyncio.TaskGroup() as lives:
        for number in range(jobs):
            lives.create_task(clients.live(plan(seed, number)))
            if number % 50 == 0:
                lives.create_task(clients.ask_for_nonsense(number))
            due += draw.expovariate(PER_SECOND)
            await asyncio.sleep(due - clock())
        over.set()


async def endure(installation: Installation, seed: str, jobs: int) -> Promises:
    """Let clients and disturbances go on at the same time; return what was promised."""
    stack, over = installation.stack, asyncio.Event()
    disturbances = Disturbances(stack, installation.servers, seed, over)
    gateways = [stack.url(name) for name in stack.processes if name.startswith("gateway")]
    async with clients(gateways, installation.receiver) as many, asyncio.TaskGroup() as both:
        both.create_task(disturbances.run())
        both.create_task(release(many, seed, jobs, over))
    return many.promises


async def come_to_rest(installation: Installation, promises: Promises) -> Log:
    """Wait until nothing is left to do, without lifting a finger; return the whole log.

    A gateway that was frozen may take what it was asked for meanwhile when its client has long had
    its answer from the other one: as long as the log tells of new runs, there is something left.
    """
    stack, known = installation.stack, await read_log(installation)
    assert {job_id for job_id, _ in known.requested} >= promises.accepted
    while True:
        await wait_until_worker_is_done(stack, known.requested)
        await wait_until_verified(stack)
        await wait_until_told(promises, await read_log(installation))
        await wait_until_notifier_is_done(stack)
        await wait_until_verified(stack)
        log = await read_log(installation)
        if log.requested.keys() == known.requested.keys():
            await stack.wait_until_all_ready()
            return log
        known = log


async def read_log(installation: Installation) -> Log:
    """Read all that both topics say now."""
    topics = (Topic.REQUESTS, Topic.EVENTS)
    return tell(
        chain.from_iterable([await read_events(installation.stack, topic) for topic in topics])
    )


def summary(promises: Promises, log: Log) -> str:
    """Say what the run was made of."""
    ends = Counter(outcome(run.end) for run in log.runs.values() if run.end is not None)
    attempts = sum(len(run.started) for run in log.runs.values())
    lost = sum(event.outcome == "LOST" for run in log.runs.values() for event in run.ended.values())
    return (
        f"{len(log.requested)} runs of {len({job for job, _ in log.requested})} jobs in {attempts}"
        f" attempts, {lost} of them lost; {len(log.deleted)} jobs deleted; requests that had to be"
        f" repeated: {promises.refused}; {dict(ends.most_common())}"
    )


async def test_every_job_ends_once_whatever_crashes(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory, announce: Announce
) -> None:
    jobs = int(os.environ.get("ENDURANCE_JOBS", "2000"))
    seed = os.environ.get("ENDURANCE_SEED", secrets.token_hex(4))
    announce(f"ENDURANCE_SEED={seed} ENDURANCE_JOBS={jobs}")
    plugins = tmp_path_factory.mktemp("plugins") / "unruly"
    install_unruly(plugins)
    async with run_installation(
        servers,
        worker=WORKER | {"PYTHONPATH": str(plugins)},
        notifier=NOTIFIER,
        services=TWO_OF_EACH,
        report_types=[UNRULY_TYPE],
    ) as installation:
        promises = await endure(installation, seed, jobs)
        log = await come_to_rest(installation, promises)
        announce(summary(promises, log))

        found = breaches(log)
        assert not found, "\n".join(found[:20])
        assert_each_ended_as_it_should(log)
        assert_webhooks_are_those_of_the_log(promises, log)
        await assert_listing_agrees(installation, promises, log)
        await assert_reports_are_there(installation, log)
        await wait_until_swept(installation.stack, log)
        await wait_until_only(installation.stack, children=2 * (SLOTS + 1))
        assert_no_service_was_surprised(installation.stack)
