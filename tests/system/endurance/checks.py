"""What is held against the log when all has come to rest: outcomes, webhooks, reports, files."""

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from local_stack.polling import poll_until
from shared.events import JobCompleted, JobFailed, webhook_id
from tests.support.log_audit import Log
from tests.support.stack import SystemStack
from tests.system.endurance.clients import Promises
from tests.system.endurance.plans import COMPLETED, possible_ends
from tests.system.installation import Installation

SECONDS: Final = 600.0
"""Within which all that is left to do is done once the disturbances are over."""

_SURPRISE: Final = re.compile(r'Traceback|"exception":|"level": ?"critical"')
_OF_THE_CLIENT: Final = re.compile(r"never retrieved.*coro=<GroupCoordinator\._do_commit_offsets")
"""A commit that nobody waits for any more fails; the Kafka client leaves its task to itself."""


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
        return {
            str(Path(folder, name).relative_to(root))
            for folder, _, names in os.walk(root)  # which folders may leave meanwhile
            for name in names
        }

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
        if _SURPRISE.search(line) and not _OF_THE_CLIENT.search(line)
    ]
    assert not surprises, "\n".join(surprises)
