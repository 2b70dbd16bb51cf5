"""What holds however workers, zombies and clients meet: each run ends once, and so does each attempt."""  # noqa: E501

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from report_worker import domain
from report_worker.domain import (
    Attempt,
    Cancellation,
    Cancelled,
    Deletion,
    Failure,
    Lost,
    NewRun,
    Outcome,
    Released,
    Request,
)
from report_worker.metrics import WorkerMetrics
from report_worker.service import Intake, Queue, QueueTimes
from shared.clock import utc_now
from shared.events import (
    AnyJobEvent,
    JobAttemptEnded,
    JobCompleted,
    JobFailed,
    JobStarted,
    OutgoingMessage,
    decode,
)
from shared.outbox import Outbox
from shared.telemetry.metrics import OutboxMetrics
from tests.integration.report_worker.queue_bench import LEASE, NoBroker, QueueBench
from tests.support.report_runs import GENERATED, POLICY, new_run

WORKERS = 4
BATCHES = 60
STEPS_BETWEEN = 15
OUTCOMES: Sequence[Outcome | Released] = (
    GENERATED,
    Failure("REPORT_GENERATION_FAILED", "Not now.", transient=True),
    Failure("REPORT_TOO_LARGE", "Never.", transient=False),
    Lost(),
    Released(),
)


class Publishing(Outbox):
    """Keeps all that is published, repeats included."""

    def __init__(self, runs: QueueBench) -> None:
        super().__init__(runs.database, NoBroker(), OutboxMetrics(CollectorRegistry()))
        self.events: list[AnyJobEvent] = []

    def publish(self, messages: Sequence[OutgoingMessage], *, has_hurry: bool = True) -> None:  # noqa: ARG002 - all are kept alike
        """Keep messages whose rows are committed."""
        for message in messages:
            received = decode(message.headers, message.value)
            assert received is not None
            self.events.append(received.event)

    def ends(self) -> list[JobCompleted | JobFailed]:
        """Return the ends of runs so far."""
        return [event for event in self.events if isinstance(event, JobCompleted | JobFailed)]


@dataclass
class Client:
    """Asks for jobs as the gateway would, and sees what was published."""

    random: Random
    published: Publishing
    log: list[Request] = field(default_factory=list)
    newest: dict[int, NewRun] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    wanted: set[tuple[str, int]] = field(default_factory=set)

    def ask(self) -> None:
        """Put one more request into the log."""
        if not self.newest or self.random.random() < 0.4:
            self._begin(len(self.newest) + 1, run=1)
            return
        number = self.random.choice(list(self.newest))
        run = self.newest[number]
        match self.random.choice(("retry", "cancel", "cancel", "delete")):
            case "retry" if self._has_failed(run):
                self._begin(number, run=run.run + 1)
            case "cancel":
                self.log.append(Cancellation(run.job_id, self.random.randint(1, run.run)))
            case "delete" if self.random.random() < 0.2:
                self.log.append(Deletion(run))
                self.deleted.add(run.job_id)

    def _begin(self, number: int, *, run: int) -> None:
        self.newest[number] = new_run(number, run=run, tenant=f"tenant-{number % 3}")
        self.log.append(self.newest[number])
        if self.newest[number].job_id not in self.deleted:
            self.wanted.add((self.newest[number].job_id, run))

    def _has_failed(self, run: NewRun) -> bool:
        return any(
            isinstance(end, JobFailed) and (end.job_id, end.run) == (run.job_id, run.run)
            for end in self.published.ends()
        )


class Worker:
    """A process that claims, ends, forgets what it runs, and comes back as a zombie."""

    def __init__(self, random: Random, queue: Queue) -> None:
        self.random = random
        self.queue = queue
        self.running: list[Attempt] = []
        self.forgotten: list[Attempt] = []

    async def step(self) -> None:
        """Do one thing that a worker does, or that befalls it."""
        match self.random.choice(("claim", "finish", "finish", "beat", "beat", "die", "zombie")):
            case "claim":
                begun = await self.queue.claim(free_slots=self.random.randint(1, 4))
                self.running += begun
            case "finish" if self.running:
                await self._finish(self._take(self.running), self.random.choice(OUTCOMES))
            case "beat":
                await self._beat()
            case "die" if self.random.random() < 0.3:
                self.forgotten += self.running
                self.running = []
            case "zombie" if self.forgotten:
                await self._finish(self._take(self.forgotten), self.random.choice(OUTCOMES))

    async def come_to_an_end(self) -> None:
        """Complete whatever can be claimed."""
        await self._beat()
        for attempt in [*self.running, *await self.queue.claim(free_slots=50)]:
            await self._finish(attempt, GENERATED)
        self.running = []

    async def _beat(self) -> None:
        renewal = await self.queue.renew(self.running)
        self.running = [one for one in self.running if one not in renewal.taken_away]
        for attempt in renewal.cancelled:
            self.running.remove(attempt)
            await self._finish(attempt, Cancelled())
        await self.queue.reap()
        await self.queue.expire()

    def _take(self, attempts: list[Attempt]) -> Attempt:
        return attempts.pop(self.random.randrange(len(attempts)))

    async def _finish(self, attempt: Attempt, outcome: Outcome | Released | Cancelled) -> None:
        ending = domain.ending(attempt, outcome, timedelta(seconds=1), POLICY)
        self.running += await self.queue.finish([ending], free_slots=self.random.randint(0, 2))


@dataclass
class World:
    """Workers, a client, and time that passes in leaps."""

    runs: QueueBench
    random: Random
    published: Publishing
    workers: list[Worker]
    client: Client
    steps: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    is_over: bool = False

    async def live(self) -> None:
        """Let all of them act at once, then let everything come to an end."""
        await asyncio.gather(self._requests(), *map(self._work, self.workers))
        while set(await self.runs.states()) != {"ended"}:
            await self.runs.expire_leases()
            await self.runs.make_due()
            for worker in self.workers:
                await worker.come_to_an_end()

    async def deliver(self, requests: Sequence[Request]) -> None:
        """Let some worker take in a batch."""
        worker = self.random.choice(self.workers)
        intake = Intake(progress={}, requests=list(requests))
        begun = await worker.queue.take_in(intake, free_slots=self.random.randint(0, 2))
        # Only now is it looked at what the worker runs, which acted meanwhile.
        worker.running += begun

    async def _requests(self) -> None:
        delivered = 0
        for _ in range(BATCHES):
            for _ in range(self.random.randint(1, 6)):
                self.client.ask()
            # Now and then the log is read again from an earlier position.
            start = self.random.choice((delivered, delivered, self.random.randint(0, delivered)))
            delivered = len(self.client.log)
            await self.deliver(self.client.log[start:delivered])
            for _ in range(self.random.randint(0, 2 * STEPS_BETWEEN)):
                await self.steps.acquire()
        self.is_over = True

    async def _leap(self) -> None:
        """Let some leases run out, and some waits pass."""
        await self.runs.execute(
            "UPDATE runs SET lease_until = now() - interval '1 second', run_at = now()"
            " WHERE (job_id, run) IN (SELECT job_id, run FROM runs WHERE random() < 0.3"
            "                         FOR UPDATE SKIP LOCKED)"
        )

    async def _work(self, worker: Worker) -> None:
        while not self.is_over:
            await worker.step()
            if self.random.random() < 1 / STEPS_BETWEEN:
                await self._leap()
            self.steps.release()
            await asyncio.sleep(0)


def world_of(runs: QueueBench, seed: int) -> World:
    random = Random(seed)
    published = Publishing(runs)
    workers = [
        Worker(
            random,
            Queue(
                runs.database,
                published,
                policy=POLICY,
                times=QueueTimes(lease=LEASE, grace=0),
                worker=str(number),
                clock=utc_now,
                metrics=WorkerMetrics(CollectorRegistry()),
                tenant_limit=seed % 3 or None,
            ),
        )
        for number in range(WORKERS)
    ]
    return World(runs, random, published, workers, Client(random, published))


@pytest.mark.parametrize("seed", range(6))
async def test_each_run_and_each_attempt_ends_exactly_once(runs: QueueBench, seed: int) -> None:
    world = world_of(runs, seed)
    await world.live()
    events = world.published.events

    ends = Counter((end.job_id, end.run) for end in world.published.ends())
    assert ends == Counter(world.client.wanted)

    begun = Counter((e.job_id, e.run, e.attempt) for e in events if isinstance(e, JobStarted))
    attempts_ended = Counter(
        (event.job_id, event.run, event.attempt)
        for event in events
        if isinstance(event, JobAttemptEnded)
        or (isinstance(event, JobCompleted | JobFailed) and event.started_at is not None)
    )
    assert set(begun.values()) <= {1}
    assert attempts_ended == begun
    assert len({(job, attempt) for job, _, attempt in begun}) == len(begun)

    told = len(events)
    await world.deliver(world.client.log)
    assert len(events) == told
    assert set(await runs.states()) == {"ended"}
