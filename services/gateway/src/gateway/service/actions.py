"""What clients can ask of a job that they submitted: to stop it, run it again, or remove it.

Each is one event on the log whose id is derived from the job, its run and the kind of the request,
so that asking twice for the same is one event. It is checked here against what the read model
knows; what it brings about is decided by the worker, where the state is.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

import structlog

from gateway.domain import (
    Job,
    JobDeletedError,
    JobEndedError,
    JobNotEndedError,
    JobNotRetryableError,
    JobStatus,
    OverloadedError,
    PreconditionFailedError,
    TooManyWatchersError,
    WatchEndedError,
)
from gateway.service.active_jobs import ActiveJobs
from gateway.service.changes import Changes, Watch
from gateway.service.jobs import Jobs
from gateway.service.submissions import Publisher
from shared.bus import BusUnavailableError
from shared.clock import Clock
from shared.events import (
    UNKNOWN,
    CancelRequested,
    DeleteRequested,
    JobEvent,
    RequestedReport,
    RetryRequested,
    encode,
)
from shared.job_id import JobId
from shared.telemetry.trace import trace_id

MOST_RUNS: Final = 100
"""That one job can have: its history is shown whole."""

_SOURCE: Final = "gateway"
_log = structlog.get_logger()

E = TypeVar("E", bound=JobEvent)


class Requests(Protocol):
    """What was asked for, as the read model keeps it."""

    async def request_of(self, job_id: JobId, tenant: str) -> RequestedReport | None:
        """Return the request of a tenant's job, if it could ever be read."""


@dataclass(frozen=True, slots=True)
class Actions:
    """Publishes what clients ask of their jobs.

    An answer waits up to `patience` seconds until the read model has caught up with it, so that
    whoever asks next, at whichever gateway, finds what the answer said; where too many wait for
    changes already, it doesn't. Beyond the errors named, each action raises what `Jobs.find` does,
    and BusUnavailableError where it is unknown whether the request was taken.
    """

    jobs: Jobs
    changes: Changes
    requests: Requests
    publisher: Publisher
    active_jobs: ActiveJobs
    clock: Clock
    patience: float

    async def cancel(self, text: str, tenant: str, traceparent: str) -> Job:
        """Ask for a job's run to be stopped, be it in the read model yet or not.

        Raises:
            JobEndedError: where there is nothing left to stop.

        """
        with self._watching(text, tenant) as watch:
            job = await self.jobs.find(text, tenant)
            if job.status.is_terminal:
                raise JobEndedError(f"The job is {job.status} already.")
            if job.cancel_requested:
                return job
            event = _about(CancelRequested, job, tenant, run=job.run, requested_at=self.clock())
            await self._publish(event, traceparent)
            await self._until(watch, job, _is_stopped)
        return replace(job, cancel_requested=True)

    async def retry(self, text: str, tenant: str, traceparent: str) -> Job:
        """Ask for a failed job to be run again with the request that it has.

        Raises:
            JobNotRetryableError: where it hasn't failed, or can't be run once more.
            TooManyActiveJobsError: where the tenant has no room for another job under way.

        """
        with self._watching(text, tenant) as watch:
            job = await self.jobs.find(text, tenant)
            request = await self._request_to_retry(job, tenant)
            self.active_jobs.require_room(tenant)
            now, run = self.clock(), job.run + 1
            event = _about(RetryRequested, job, tenant, run=run, request=request, requested_at=now)
            self.active_jobs.add(tenant, job.job_id, run)
            try:
                await self._publish(event, traceparent)
            except (OverloadedError, BusUnavailableError):
                self.active_jobs.remove(tenant, job.job_id)
                raise
            await self._until(watch, job, lambda found: found.run >= run)
        again = Job.pending(
            job.job_id, job.created_at, report_type=job.report_type, format=job.format
        )
        return replace(again, run=run, updated_at=now)

    async def delete(
        self, text: str, tenant: str, traceparent: str, is_meant: Callable[[Job], bool]
    ) -> bool:
        """Remove a job that has ended, with its report; tell whether it is gone already.

        Where it isn't yet, it will be as soon as the read model has caught up.

        Raises:
            JobNotEndedError: where it may still run.
            PreconditionFailedError: where it isn't in a state that is meant.

        """
        with self._watching(text, tenant) as watch:
            job = await self.jobs.find(text, tenant)
            if not job.status.is_terminal:
                raise JobNotEndedError(f"The job is {job.status}; cancel it first, or let it end.")
            if not is_meant(job):
                raise PreconditionFailedError
            event = _about(DeleteRequested, job, tenant, run=job.run, requested_at=self.clock())
            await self._publish(event, traceparent)
            return await self._until(watch, job, lambda _: False)

    async def _request_to_retry(self, job: Job, tenant: str) -> RequestedReport:
        if job.status is not JobStatus.FAILED:
            raise JobNotRetryableError(f"The job is {job.status}; only a FAILED one is retried.")
        if job.run >= MOST_RUNS:
            raise JobNotRetryableError(f"The job has had {MOST_RUNS} runs; submit a new one.")
        request = await self.requests.request_of(job.job_id, tenant)
        if request is None:
            raise JobNotRetryableError("What was asked for couldn't be read; submit a new job.")
        return request

    async def _publish(self, event: JobEvent, traceparent: str) -> None:
        message = encode(event, source=_SOURCE, time=self.clock(), traceparent=traceparent)
        await self.publisher.publish_one(message)
        _log.info(
            "action requested",
            action=type(event).__name__,
            job_id=event.job_id,
            run=event.run,
            tenant=event.tenant,
            trace_id=trace_id(traceparent),
        )

    @contextmanager
    def _watching(self, text: str, tenant: str) -> Iterator[Watch | None]:
        """Watch a job from before it is read, so that nothing is missed; None without room."""
        with ExitStack() as leaving:
            watch = None
            with suppress(TooManyWatchersError):
                watch = leaving.enter_context(self.changes.watch(text, tenant))
            yield watch

    async def _until(self, watch: Watch | None, job: Job, is_seen: Callable[[Job], bool]) -> bool:
        """Tell whether the read model caught up in time; a job that is gone has."""
        if watch is None:
            return False
        try:
            async with asyncio.timeout(self.patience):
                job = await watch.beyond(job.vector)
                while not is_seen(job):
                    job = await watch.beyond(job.vector)
        except JobDeletedError:
            return True
        except (TimeoutError, WatchEndedError):
            return False
        return True


def _is_stopped(job: Job) -> bool:
    return job.cancel_requested or job.status.is_terminal


def _about(kind: type[E], job: Job, tenant: str, **more: Any) -> E:
    """Return an event about a job of which perhaps no more than its id is known."""
    return kind(
        job_id=job.job_id,
        tenant=tenant,
        created_at=job.created_at,
        report_type=job.report_type or UNKNOWN,
        format=job.format or UNKNOWN,
        **more,
    )
