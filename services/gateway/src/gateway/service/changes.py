"""Wakes those who wait for a change of a job; the projector's notifications say which changed."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

import structlog

from gateway.domain import (
    Job,
    JobDeletedError,
    JobNotFoundError,
    ReadModelUnavailableError,
    TooManyWatchersError,
    Vector,
    WatchEndedError,
)
from gateway.metrics import ChangeMetrics
from shared.backoff import Backoff
from shared.job_id import JobId, is_well_formed

_BATCH: Final = 500
_log = structlog.get_logger()


class ChangedJobs(Protocol):
    """The read model."""

    async def current(
        self, asked: Collection[tuple[JobId, str]]
    ) -> Mapping[tuple[JobId, str], Job | None]:
        """Return which jobs there are of (id, tenant); None for one that was deleted."""


class Watch:
    """What one client waits for: the newest state of one job, however many there were."""

    __slots__ = ("_end", "_job", "_news")

    def __init__(self) -> None:
        self._job: Job | None = None
        self._end: Exception | None = None
        self._news = asyncio.Event()

    async def beyond(self, known: Vector) -> Job:
        """Return the job's newest state as soon as one is beyond `known`.

        A state that isn't comes from a read that was overtaken, or from a read model that is
        being rebuilt: what follows it will be.

        Raises:
            JobDeletedError: where the job was deleted.
            WatchEndedError: where there is no more to wait for: the client left, or we stop.

        """
        while self._job is None or not self._job.vector.is_beyond(known):
            if self._end is not None:
                raise self._end
            self._news.clear()
            await self._news.wait()
        return self._job

    def show(self, job: Job) -> None:
        """Take a state that was read."""
        self._job = job
        self._news.set()

    def end(self, error: Exception) -> None:
        """Let whoever waits hear that nothing will come any more."""
        self._end = error
        self._news.set()


class Changes:
    """Reads each changed job once for all who watch it, and nothing for the others.

    What it remembers is one entry per watch; `capacity` bounds those of all, `tenant_capacity`
    those of each tenant. Reads batch by backpressure: what changes while one runs is read by the
    next.

    A job is watched from before anybody knows whose it is. So those who ask for it are kept apart
    by their tenants: who asks for a job of others hears nothing, and keeps nobody from hearing.
    """

    def __init__(
        self, source: ChangedJobs, *, capacity: int, tenant_capacity: int, metrics: ChangeMetrics
    ) -> None:
        self._source = source
        self._capacity = capacity
        self._tenant_capacity = tenant_capacity
        self._metrics = metrics
        self._watched: dict[JobId, dict[str, set[Watch]]] = {}
        self._count = 0
        self._counts: Counter[str] = Counter()
        self._stale: set[JobId] = set()
        self._has_stale = asyncio.Event()
        self._is_stopping = False

    @contextmanager
    def watch(self, text: str, tenant: str) -> Iterator[Watch]:
        """Watch a job while the body runs. Read its state after this began, so that none is missed.

        Raises:
            JobNotFoundError: where `text` is no id.
            TooManyWatchersError: where there is no room for one more, or for one more of a tenant.

        """
        if not is_well_formed(text):
            raise JobNotFoundError
        is_full = self._count >= self._capacity or self._counts[tenant] >= self._tenant_capacity
        if is_full or self._is_stopping:
            raise TooManyWatchersError
        job_id, watch = JobId(text), Watch()
        self._watched.setdefault(job_id, {}).setdefault(tenant, set()).add(watch)
        self._count_by(1, tenant)
        try:
            yield watch
        finally:
            self._count_by(-1, tenant)
            self._leave(job_id, tenant, watch)

    def wake(self, payload: str) -> None:
        """Take a notification: the ids that changed, or nothing where it may be any of them."""
        changed = (JobId(text) for text in payload.split()) if payload else self._watched
        self._stale.update(job_id for job_id in changed if job_id in self._watched)
        if self._stale:
            self._has_stale.set()

    def stop(self) -> None:
        """End all watches, and let no new ones begin: the process is about to end."""
        self._is_stopping = True
        for tenants in self._watched.values():
            for watches in tenants.values():
                for watch in watches:
                    watch.end(WatchEndedError())

    async def run(self) -> None:
        """Read what changed and show it, for ever."""
        backoff = Backoff(first=0.1, longest=2.0)
        failures = 0
        while True:
            await self._has_stale.wait()
            batch = self._next_batch()
            try:
                if batch:
                    self._metrics.reads.inc()
                    self._show(await self._source.current(batch))
                failures = 0
            except ReadModelUnavailableError as error:
                self._stale.update({job_id for job_id, _ in batch} & self._watched.keys())
                self._has_stale.set()
                failures += 1
                _log.warning("changed jobs can't be read", jobs=len(batch), error=str(error))
                await asyncio.sleep(backoff.delay(failures))

    def _leave(self, job_id: JobId, tenant: str, watch: Watch) -> None:
        tenants = self._watched[job_id]
        tenants[tenant].discard(watch)
        if not tenants[tenant]:
            del tenants[tenant]
        if not tenants:
            del self._watched[job_id]
            self._stale.discard(job_id)

    def _next_batch(self) -> list[tuple[JobId, str]]:
        """Return the next jobs to read, for whom; none where all who waited have left."""
        size = min(len(self._stale), _BATCH)
        batch = [self._stale.pop() for _ in range(size)]
        if not self._stale:
            self._has_stale.clear()
        return [(job_id, tenant) for job_id in batch for tenant in self._watched[job_id]]

    def _show(self, jobs: Mapping[tuple[JobId, str], Job | None]) -> None:
        for (job_id, tenant), job in jobs.items():
            for watch in self._watched.get(job_id, {}).get(tenant, ()):
                if job is None:
                    watch.end(JobDeletedError())
                else:
                    watch.show(job)

    def _count_by(self, difference: int, tenant: str) -> None:
        self._count += difference
        self._counts[tenant] += difference
        if not self._counts[tenant]:
            del self._counts[tenant]
        self._metrics.watches.set(self._count)
