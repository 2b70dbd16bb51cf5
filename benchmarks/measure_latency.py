"""Time from POST to COMPLETED as seen by GET, at 20 jobs a second that arrive by chance.

Each job has a connection of its own, kept from job to job, which asks with `Prefer: wait` and again
at once after each answer, as a client does that wants to know soon. How much the asking costs the
gateway is in the result, and the projector's NOTIFY, which costs nobody anything, tells for each
job when it was there to be seen.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from benchmarks.bare import running_bare_app
from benchmarks.cpu import cpu_seconds
from benchmarks.errors import BenchmarkError
from benchmarks.hops import Seen, hops, read_log, summaries
from benchmarks.jobs import ACCEPTED, OK
from benchmarks.limits import Limits, measure_limits, measure_step
from benchmarks.samples import Summary
from benchmarks.stack import SUBMISSION, Stack
from benchmarks.wire import Client, get
from shared.clock import utc_now
from status_projector.store import CHANGED_CHANNEL

JOBS: Final = 400
PER_SECOND: Final = 20.0
WAIT_SECONDS: Final = 10

_WAIT: Final = f"Prefer: wait={WAIT_SECONDS}"
_BARE_GET: Final = get("/report-jobs/any")
_SEED: Final = 20
_JOB_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Steps:
    """What no job can do without, each taken alone and at the pace of the jobs."""

    limits: Limits
    bare_post: Summary
    bare_get: Summary

    @property
    def floor(self) -> float:
        """Milliseconds, at the medians: a POST and a GET of routes that do nothing, two passages of
        the log, two durable commits and an asynchronous one, a query of the source, a file, a word
        to a child and back, and a row to be shown.
        """  # noqa: D205 - one sentence, three lines
        limits = self.limits
        return (
            self.bare_post.p50
            + 2 * limits.log_passage.p50
            + 2 * limits.durable_commit.p50
            + limits.asynchronous_commit.p50
            + limits.process_exchange.p50
            + limits.empty_query.p50
            + limits.file.p50
            + limits.row_read.p50
            + self.bare_get.p50
        )


@dataclass(frozen=True, slots=True)
class Latency:
    """How long jobs took to be accepted, to be visible and to be seen; and where it went."""

    accepted: Summary
    visible: Summary
    """From POST to the projector's NOTIFY."""
    seen: Summary
    """From POST to the GET that says COMPLETED."""
    gets_per_job: float
    busy: dict[str, float]
    """Share of one core that each process used meanwhile."""
    hops: dict[str, Summary]
    steps: Steps


async def measure_latency(stack: Stack) -> Latency:
    """Submit jobs at random moments and follow each; then read in the log how they went."""
    steps = await _measure_steps(stack)
    followers = _Followers(stack.gateway_port)
    async with _notifications(stack.database) as notified:
        used, began = cpu_seconds(stack.pids), time.perf_counter()
        async with asyncio.TaskGroup() as jobs:
            async for _ in _arrivals():
                jobs.create_task(followers.follow())
        seconds, after = time.perf_counter() - began, cpu_seconds(stack.pids)
    followers.close()
    logged = await read_log(stack.kafka, followers.seen)
    accounts = [
        account
        for job_id, seen in followers.seen.items()
        if (account := hops(seen, logged[job_id], notified.get(job_id)))
    ]
    if len(accounts) < JOBS:
        raise BenchmarkError(f"the log tells of {len(accounts)} jobs, not of {JOBS}")
    return Latency(
        accepted=_since_sent(followers.seen, {i: s.accepted_at for i, s in followers.seen.items()}),
        visible=_since_sent(followers.seen, notified),
        seen=_since_sent(followers.seen, {i: s.completed_at for i, s in followers.seen.items()}),
        gets_per_job=followers.gets / JOBS,
        busy={name: (after[name] - used[name]) / seconds for name in after},
        hops=summaries(accounts),
        steps=steps,
    )


async def _measure_steps(stack: Stack) -> Steps:
    pause = 1 / PER_SECOND
    limits = await measure_limits(stack, pause)
    async with running_bare_app(stack.bare_port, stack.directory.log("bare")):
        client = await Client.connect(stack.bare_port)
        try:
            return Steps(
                limits,
                bare_post=await measure_step(lambda: client.ask(SUBMISSION), pause),
                bare_get=await measure_step(lambda: client.ask(_BARE_GET), pause),
            )
        finally:
            client.close()


def _since_sent(seen: dict[str, Seen], moments: dict[str, datetime]) -> Summary:
    return Summary.of(
        [(moments[job_id] - one.sent_at).total_seconds() for job_id, one in seen.items()]
    )


async def _arrivals() -> AsyncIterator[None]:
    """Yield at the arrivals of a Poisson process, the same in each run."""
    chance = random.Random(_SEED)  # noqa: S311 - seeded, so that runs can be compared
    due = time.perf_counter()
    for _ in range(JOBS):
        due += chance.expovariate(PER_SECOND)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        yield


class _Followers:
    """Submits jobs and asks for each until it is COMPLETED."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Client] = []
        self.seen: dict[str, Seen] = {}
        self.gets = 0

    def close(self) -> None:
        for client in self._idle:
            client.close()

    async def follow(self) -> None:
        client = self._idle.pop() if self._idle else await Client.connect(self._port)
        async with asyncio.timeout(_JOB_SECONDS):
            await self._follow(client)
        self._idle.append(client)

    async def _follow(self, client: Client) -> None:
        sent_at = utc_now()
        answer = await client.ask(SUBMISSION)
        accepted_at = utc_now()
        if answer.status != ACCEPTED:
            raise BenchmarkError(f"POST was answered with {answer.status}")
        job_id: str = answer.json()["jobId"]
        while not await self._is_completed(client, job_id):
            pass
        self.seen[job_id] = Seen(sent_at, accepted_at, utc_now())

    async def _is_completed(self, client: Client, job_id: str) -> bool:
        self.gets += 1
        answer = await client.ask(get(f"/report-jobs/{job_id}", _WAIT))
        status = answer.json()["status"] if answer.status == OK else answer.status
        if status not in {"PENDING", "RUNNING", "COMPLETED"}:
            raise BenchmarkError(f"GET of a no-op job says {status}")
        return bool(status == "COMPLETED")


@asynccontextmanager
async def _notifications(database: str) -> AsyncIterator[dict[str, datetime]]:
    """Note when the projector last told of a change of each job, while the body runs."""
    last: dict[str, datetime] = {}

    def note(*notice: Any) -> None:
        now = utc_now()
        last.update(dict.fromkeys(notice[3].split(), now))

    connection = await asyncpg.connect(database)
    try:
        await connection.add_listener(CHANGED_CHANNEL, note)
        yield last
    finally:
        await connection.close()
