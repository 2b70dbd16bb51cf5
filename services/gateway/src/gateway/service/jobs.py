"""Answers what becomes of a tenant's jobs, from the read model and from the ids themselves."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from gateway.domain import (
    Job,
    JobExpiredError,
    JobFilter,
    JobNotFoundError,
    JobPage,
    JobStatus,
    JobView,
    poll_interval,
    read_page_token,
    write_page_token,
)
from shared.clock import Clock
from shared.job_id import JobId, JobIds, created_at, earliest, is_well_formed
from shared.links import DownloadLinks

_AFTER_ALL_IDS = JobId("job_w")  # ids are written with digits up to v


class JobSource(Protocol):
    """The read model."""

    async def get(self, job_id: JobId, tenant: str) -> Job | None:
        """Return a job of the tenant, if the projector has heard of it.

        Raise JobDeletedError or JobExpiredError where it knows that the job is gone.
        """

    async def get_linked(self, job_id: JobId) -> Job | None:
        """Return a job whoever owns it, for whoever holds a link of ours to it."""

    async def newest(
        self, tenant: str, chosen: JobFilter, *, first: JobId, before: JobId, limit: int
    ) -> list[Job]:
        """Return jobs with ids in [first, before), newest first."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of every tenant, each seen by its own."""

    source: JobSource
    job_ids: JobIds
    links: DownloadLinks
    retention: timedelta
    clock: Clock

    async def find(self, text: str, tenant: str) -> Job:
        """Return a tenant's job: its row, or PENDING where only its id tells of it so far.

        An id past its retention is gone whoever made it, since keys are dropped too.

        Raises:
            JobNotFoundError: where this system never gave the id to this tenant.
            JobExpiredError: where the job is older than the retention time, or was purged.
            JobDeletedError: where a client had it deleted.
            ReadModelUnavailableError: where the read model doesn't answer.

        """
        job_id = self._kept(text)
        job = await self.source.get(job_id, tenant)
        if job is not None:
            return job
        if not self.job_ids.is_certified(job_id, tenant):
            raise JobNotFoundError
        return Job.pending(job_id, created_at(job_id))

    async def find_linked(self, text: str) -> Job:
        """Return the job that a link of ours names; the link stands for the tenant's consent.

        There are links only to completed jobs. Where the row is missing, the read model is
        behind, and the job PENDING until it has caught up.

        Raises:
            JobNotFoundError, JobExpiredError, ReadModelUnavailableError: as `find` does.

        """
        job_id = self._kept(text)
        return await self.source.get_linked(job_id) or Job.pending(job_id, created_at(job_id))

    async def list_newest(
        self, tenant: str, chosen: JobFilter, page_size: int, page_token: str | None
    ) -> JobPage:
        """Return one page of a tenant's jobs, newest first.

        Raises:
            PageTokenError: where the token makes no sense for this listing.
            ReadModelUnavailableError: where the read model doesn't answer.

        """
        before = read_page_token(chosen, page_token) if page_token else _AFTER_ALL_IDS
        if chosen.created_before is not None:
            before = min(before, earliest(chosen.created_before))
        first = earliest(max(self._oldest_kept(), chosen.created_after or self._oldest_kept()))
        jobs = await self.source.newest(
            tenant, chosen, first=first, before=before, limit=page_size + 1
        )
        shown = jobs[:page_size]
        has_more = len(jobs) > page_size
        return JobPage(
            views=tuple(self.view(job) for job in shown),
            next_page_token=write_page_token(chosen, shown[-1].job_id) if has_more else None,
        )

    def view(self, job: Job) -> JobView:
        """Add what depends on the time and on this deployment: expiry, link, poll interval."""
        expires_at = self.expiry(job.created_at)
        is_completed = job.status is JobStatus.COMPLETED
        return JobView(
            job=job,
            expires_at=expires_at,
            download_url=self.links.url(job.job_id, expires_at) if is_completed else None,
            retry_after=self.retry_after(job),
        )

    def retry_after(self, job: Job) -> int | None:
        """Return how many seconds to wait before asking again; None once it has ended."""
        return None if job.status.is_terminal else self.poll_interval(job.created_at)

    def poll_interval(self, created_at: datetime) -> int:
        """Return how many seconds to wait before asking again for a job that hasn't ended."""
        return poll_interval(self.clock() - created_at)

    def expiry(self, created_at: datetime) -> datetime:
        """Return the moment from which on a job is gone."""
        return created_at + self.retention

    def _kept(self, text: str) -> JobId:
        if not is_well_formed(text):
            raise JobNotFoundError
        job_id = JobId(text)
        if created_at(job_id) < self._oldest_kept():
            raise JobExpiredError
        return job_id

    def _oldest_kept(self) -> datetime:
        return self.clock() - self.retention
