"""Many jobs at once: submitting them through outages, and checking that none came to harm."""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from local_stack.polling import poll_until
from shared.events import JobCompleted, JobFailed
from shared.topics import Topic
from tests.support.client import Job
from tests.support.receiver import Endpoint, ReceivedWebhook
from tests.support.stack import SystemStack
from tests.system.catalogue import BRIEF_REPORT, request
from tests.system.installation import Installation
from tests.system.log import read_events

SECONDS: Final = 300.0
"""How long all jobs may take together, crashes and a busy machine included."""

_SUBMITTERS: Final = 4


@dataclass(slots=True)
class Accepted:
    """The jobs that were answered with 202."""

    job_ids: set[str] = field(default_factory=set)
    _growth: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, job_id: str) -> None:
        async with self._growth:
            self.job_ids.add(job_id)
            self._growth.notify_all()

    async def wait_for_count(self, least: int) -> None:
        """Return once so many jobs were accepted."""
        async with asyncio.timeout(SECONDS), self._growth:
            await self._growth.wait_for(lambda: len(self.job_ids) >= least)


async def submit_many(
    installation: Installation, count: int, endpoint: Endpoint, accepted: Accepted
) -> None:
    """Submit until so many more jobs were accepted.

    What was answered with 503, or not at all, may have become a job or not: another is submitted
    in its place, and nothing is expected of it.
    """
    pending = iter(range(count))

    async def submit_one() -> bool:
        brief = request(BRIEF_REPORT, callbackUrl=endpoint.url)
        job = await installation.client.try_to_submit(brief)
        if job is not None:
            await accepted.add(job.job_id)
        return job is not None

    async def submit_in_turn() -> None:
        for _ in pending:
            await poll_until(submit_one, seconds=SECONDS)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_SUBMITTERS):
            tasks.create_task(submit_in_turn())


async def wait_until_all_completed(
    installation: Installation, job_ids: Collection[str]
) -> dict[str, Job]:
    """Return the jobs by id once the API tells of all that they are COMPLETED."""
    completed: dict[str, Job] = {}

    async def are_completed() -> bool:
        # What lies behind may have been killed a moment ago.
        jobs = await installation.client.try_to_list_jobs(status="COMPLETED")
        completed.update({job.job_id: job for job in jobs or ()})
        return completed.keys() >= set(job_ids)

    try:
        await poll_until(are_completed, seconds=SECONDS, interval=0.25)
    except TimeoutError:
        missing = set(job_ids) - completed.keys()
        raise AssertionError(
            f"{len(missing)} jobs didn't complete: {sorted(missing)[:5]}"
        ) from None
    return {job_id: completed[job_id] for job_id in job_ids}


async def assert_told_of_each(endpoint: Endpoint, job_ids: Collection[str]) -> None:
    """Every job's webhook came, signed, and under one id however often it came."""

    def is_told_of_each(received: list[ReceivedWebhook]) -> bool:
        return {webhook.job_id for webhook in received} >= set(job_ids)

    ids: dict[str, set[str]] = defaultdict(set)
    for webhook in await endpoint.wait_for(is_told_of_each, seconds=SECONDS):
        assert webhook.is_verified
        ids[webhook.job_id].add(webhook.webhook_id)
    assert {len(of_job) for of_job in ids.values()} == {1}
    assert len(set.union(*ids.values())) == len(ids)


async def assert_one_end_per_run(stack: SystemStack, job_ids: Collection[str]) -> int:
    """The log tells of every job's end, and a record that came twice is the same event.

    Returns how many records told of an end.
    """
    ends: dict[tuple[str, int], list[str]] = defaultdict(list)
    for received in await read_events(stack, Topic.EVENTS):
        event = received.event
        assert not isinstance(event, JobFailed), event
        if isinstance(event, JobCompleted):
            ends[event.job_id, event.run].append(received.event_id)
    assert ends.keys() >= {(job_id, 1) for job_id in job_ids}
    assert {len(set(ids)) for ids in ends.values()} == {1}
    return sum(map(len, ends.values()))
