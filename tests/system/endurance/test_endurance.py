"""Thousands of jobs while everything crashes, freezes and goes away: each ends, once, as it should.

ENDURANCE_JOBS is their number; ENDURANCE_SEED repeats what a run's clients asked for and what
disturbed it, in the same order, though not to the millisecond.
"""

import asyncio
import hashlib
import json
import os
import random
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from local_stack.polling import poll_until
from shared.events import JobCompleted, JobFailed, webhook_id
from shared.topics import Topic
from tests.support.containers import Announce
from tests.support.log_audit import Log, breaches, tell
from tests.support.stack import TWO_OF_EACH, SystemStack
from tests.system.endurance.clients import Clients, Promises, clients
from tests.system.endurance.disturbances import Disturbances
from tests.system.endurance.plans import (
    COMPLETED,
    UNRULY_TYPE,
    install_unruly,
    plan,
    possible_ends,
)
from tests.system.installation import Installation, Servers, run_installation
from tests.system.log import read_events
from tests.system.processes import wait_until_only
from tests.system.queue import wait_until_notifier_is_done, wait_until_worker_is_done
from tests.system.read_model import wait_until_verified

SECONDS: Final = 300.0
"""Within which all that is left to do is done once the disturbances are over."""

PER_SECOND: Final = 25.0
SLOTS: Final = 3
WORKER: Final = {
    "REPORT_WORKER_LEASE": "3",
    "REPORT_WORKER_SLOTS": str(SLOTS),
    # The servers are disturbed more often than a run may otherwise fail or be lost.
    "REPORT_WORKER_MAX_FAILURES": "100",
    "REPORT_WORKER_MAX_LOSSES": "6",
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
SURPRISE: Final = re.compile(r'Traceback|"exception":|"level": ?"critical"')
OF_THE_CLIENT: Final = re.compile(r"never retrieved.*coro=<GroupCoordinator\._do_commit_offsets")
"""A commit that nobody waits for any more fails; the Kafka client leaves its task to itself."""


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
    """Wait until nothing is left to do, without lifting a finger; return the whole log."""
    stack = installation.stack
    asked = {one.event.job_id for one in await read_events(stack, Topic.REQUESTS)}
    assert asked >= promises.accepted
    await wait_until_worker_is_done(stack, asked)
    await wait_until_verified(stack)
    log = tell(await read_events(stack, Topic.REQUESTS) + await read_events(stack, Topic.EVENTS))
    await wait_until_told(promises, log)
    await wait_until_notifier_is_done(stack)
    await wait_until_verified(stack)
    return tell(await read_events(stack, Topic.REQUESTS) + await read_events(stack, Topic.EVENTS))


async def wait_until_told(promises: Promises, log: Log) -> None:
    """Return once each run's webhook came, under the id of the run's end."""
    expected = set(webhook_ids(log))

    async def are_told() -> bool:
        return received_ids(promises) >= expected

    try:
        await poll_until(are_told, seconds=SECONDS, interval=0.25)
    except TimeoutError:
        missing = expected - received_ids(promises)
        raise AssertionError(f"{len(missing)} webhooks never came: {sorted(missing)[:5]}") from None


def webhook_ids(log: Log) -> Iterator[str]:
    """Give the ids of all webhooks that clients are owed."""
    for run in log.runs.values():
        if run.end is not None and run.end.request and run.end.request.callback_url:
            yield webhook_id(run.end_id)


def received_ids(promises: Promises) -> set[str]:
    """Return the ids of all webhooks that came."""
    endpoints = promises.endpoints.values()
    return {webhook.webhook_id for endpoint in endpoints for webhook in endpoint.received}


def assert_each_ended_as_it_should(log: Log) -> None:
    """What became of each run is one of the ends that its request can have."""
    wrong = [
        (key, outcome(run.end), run.end)
        for key, run in log.runs.items()
        if run.end is not None and not is_possible(log, key, run.end)
    ]
    assert not wrong, f"{len(wrong)} runs: {wrong[:5]}"


def is_possible(log: Log, key: tuple[str, int], end: JobCompleted | JobFailed) -> bool:
    is_cancelled = key in log.cancelled
    return outcome(end) in possible_ends(log.requested[key], is_cancelled=is_cancelled)


def outcome(end: JobCompleted | JobFailed) -> str:
    return end.error_code if isinstance(end, JobFailed) else COMPLETED


def assert_webhooks_are_those_of_the_log(promises: Promises, log: Log) -> None:
    """Nothing came but what is owed, all of it signed, and each is known to be delivered."""
    assert received_ids(promises) == set(webhook_ids(log))
    endpoints = promises.endpoints.values()
    assert all(one.is_verified for endpoint in endpoints for one in endpoint.received)
    told = [event for run in log.runs.values() for event in run.webhooks]
    assert {event.webhook_id for event in told} == set(webhook_ids(log))
    assert {type(event).__name__ for event in told} == {"WebhookDelivered"}


async def assert_listing_agrees(installation: Installation, promises: Promises, log: Log) -> None:
    """The API shows every job as its newest run ended, and no deleted one."""
    listed = {job.job_id: job.status for job in await installation.client.list_jobs()}
    ends = log.newest_ends
    assert listed == {
        job_id: "FAILED" if isinstance(end, JobFailed) else "COMPLETED"
        for job_id, end in ends.items()
    }
    assert promises.deleted <= log.deleted
    assert promises.accepted <= ends.keys() | log.deleted
    for job_id in log.deleted:
        assert (await installation.client.look_up(job_id)).status_code == httpx.codes.GONE


async def assert_reports_are_there(installation: Installation, log: Log) -> None:
    """Each report is downloaded with the bytes that the log tells of."""
    queue = iter(await installation.client.list_jobs(status="COMPLETED"))

    async def download() -> None:
        for job in queue:
            response = await installation.client.download(job.download_url)
            assert response.status_code == httpx.codes.OK, response.text
            end = log.newest_ends[job.job_id]
            assert isinstance(end, JobCompleted)
            assert hashlib.sha256(response.content).hexdigest() == end.artifact.sha256
            assert len(response.content) == end.artifact.byte_count

    async with asyncio.TaskGroup() as downloads:
        for _ in range(8):
            downloads.create_task(download())


async def wait_until_swept(stack: SystemStack, log: Log) -> None:
    """Return once the store holds the reports that the log tells of, and no other file."""
    root = stack.files.directory.artifacts
    expected = {
        end.artifact.path for end in log.newest_ends.values() if isinstance(end, JobCompleted)
    }

    def stored() -> set[str]:
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    async def is_swept() -> bool:
        return stored() == expected

    try:
        await poll_until(is_swept, seconds=SECONDS, interval=0.5)
    except TimeoutError:
        raise AssertionError(
            f"missing: {sorted(expected - stored())[:5]},"
            f" left over: {sorted(stored() - expected)[:5]}"
        ) from None


def assert_no_service_was_surprised(stack: SystemStack) -> None:
    """Outages are told of in a line; a traceback in a log is something nobody thought of."""
    surprises = [
        line
        for name in stack.processes
        for line in stack.log(name).splitlines()
        if SURPRISE.search(line) and not OF_THE_CLIENT.search(line)
    ]
    assert not surprises, "\n".join(surprises)


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
