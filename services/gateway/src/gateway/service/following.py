"""Lets clients wait for a job's next state, or follow all of them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.domain import (
    Job,
    JobDeletedError,
    JobExpiredError,
    JobView,
    TooManyWatchersError,
    Vector,
    WatchEndedError,
)
from gateway.service.changes import Changes, Watch
from gateway.service.jobs import Jobs


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing happened for a while; the client may be told that we are still there."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The job was deleted or has expired; there will be no more of it."""

    error: JobDeletedError | JobExpiredError


@dataclass(frozen=True, slots=True)
class Pace:
    """How many seconds a stream may be silent, and how many it lives at the longest."""

    quiet: float
    longest: float


@dataclass(frozen=True, slots=True)
class Followed:
    """A job that one client follows, from a state it may have seen already."""

    jobs: Jobs
    watch: Watch
    first: Job
    seen: Vector | None
    pace: Pace

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended, and the client saw that."""
        return self.first.status.is_terminal and self.first.vector == self.seen

    async def states(self) -> AsyncGenerator[JobView | Quiet | Gone, None]:
        """Yield each state that the client hasn't, up to the one in which the job has ended.

        Where states follow each other faster than the client takes them, it gets the newest. None
        is older than one before it: while the read model is rebuilt, there simply is none.
        """
        job, seen = self.first, self.seen
        end = asyncio.get_running_loop().time() + self.pace.longest
        while True:
            if seen is None or job.vector.is_beyond(seen):
                yield self.jobs.view(job)
                seen = job.vector
            if job.status.is_terminal and seen == job.vector:
                return
            news = await self._after(job)
            if isinstance(news, Job):
                job = news
            elif news is not None:
                yield news
            if not isinstance(news, Job | Quiet) or asyncio.get_running_loop().time() > end:
                return

    async def _after(self, job: Job) -> Job | Quiet | Gone | None:
        """Return the next state, or what came in its place; None where the watch has ended."""
        try:
            async with asyncio.timeout(self.pace.quiet):
                return await self.watch.beyond(job.vector)
        except TimeoutError:
            is_expired = self.jobs.view(job).expires_at <= self.jobs.clock()
            return Gone(JobExpiredError()) if is_expired else Quiet()
        except JobDeletedError as error:
            return Gone(error)
        except WatchEndedError:
            return None


@dataclass(frozen=True, slots=True)
class Following:
    """Follows jobs by their changes, without asking the read model again and again."""

    jobs: Jobs
    changes: Changes
    pace: Pace

    async def wait(
        self, text: str, tenant: str, seconds: float, knows: Callable[[Job], bool] | None
    ) -> Job:
        """Return a tenant's job when its state has changed, or `seconds` have passed.

        To a client that says what it `knows`, each state beyond that is a change; to others,
        another status or run than at the beginning. A job that has ended isn't waited for, and
        where too many wait already, nobody else does.

        Raises:
            JobNotFoundError, JobExpiredError, ReadModelUnavailableError: as `Jobs.find` does.
            JobDeletedError: where the job is deleted, before or meanwhile.

        """
        try:
            with self.changes.watch(text, tenant) as watch:
                job = await self.jobs.find(text, tenant)
                if job.status.is_terminal or (knows is not None and not knows(job)):
                    return job
                return await _changed(job, watch, seconds, any_change=knows is not None)
        except TooManyWatchersError:
            return await self.jobs.find(text, tenant)

    @asynccontextmanager
    async def follow(
        self, text: str, tenant: str, *, seen: Vector | None
    ) -> AsyncIterator[Followed]:
        """Follow a tenant's job while the body runs.

        Raises:
            JobNotFoundError, JobExpiredError, JobDeletedError, ReadModelUnavailableError: as
                `Jobs.find` does.
            TooManyWatchersError: where there is no room for one more.

        """
        with self.changes.watch(text, tenant) as watch:
            first = await self.jobs.find(text, tenant)
            yield Followed(self.jobs, watch, first, seen, self.pace)


async def _changed(job: Job, watch: Watch, seconds: float, *, any_change: bool) -> Job:
    arrived_at = job
    try:
        async with asyncio.timeout(seconds):
            while job is arrived_at or not (any_change or _is_another_state(job, arrived_at)):
                job = await watch.beyond(job.vector)
    except (TimeoutError, WatchEndedError):
        pass
    return job


def _is_another_state(job: Job, before: Job) -> bool:
    return (job.status, job.run) != (before.status, before.run)
