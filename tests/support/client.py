"""The HTTP API as a client in another house would use it: knows the contract, nothing of ours."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import httpx
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from local_stack.polling import poll_until

ENDED: Final = frozenset({"COMPLETED", "FAILED"})

_REQUEST_SECONDS: Final = 10.0
"""No request may take longer, whatever is broken behind the gateway."""

_STATUS_SECONDS: Final = 60.0
_PAGE: Final = 100


class _Read(BaseModel):
    """Tolerant, as a client has to be: fields may be added."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class JobWebhook(_Read):
    """What became of a job's webhook."""

    status: str
    attempts: int


class JobProgress(_Read):
    """How far a running job has come."""

    phase: str
    percent: int | None
    rows_processed: int | None
    rows_total: int | None


class Job(_Read):
    """A report job as the API shows it."""

    job_id: str
    status: str
    report_type: str | None
    format: str | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    finished_at: datetime | None
    expires_at: datetime
    download_url: str | None
    row_count: int | None
    byte_count: int | None
    error_code: str | None
    error_message: str | None
    retryable: bool | None
    progress: JobProgress | None
    webhook: JobWebhook | None


class ReportsClient:
    """Submits, follows, lists and downloads. Each request ends within ten seconds."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def post(self, request: Mapping[str, Any]) -> httpx.Response:
        """Send a report request, whatever comes of it."""
        return await self.http.post("/generate-report", json=request)

    async def submit(self, request: Mapping[str, Any]) -> Job:
        """Send a report request that has to be accepted."""
        response = await self.post(request)
        assert response.status_code == httpx.codes.ACCEPTED, response.text
        return Job.model_validate_json(response.content)

    async def try_to_submit(self, request: Mapping[str, Any]) -> Job | None:
        """Send a report request; None where it is unknown whether it became a job."""
        try:
            response = await self.post(request)
        except httpx.TransportError:
            return None
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return None
        assert response.status_code == httpx.codes.ACCEPTED, response.text
        return Job.model_validate_json(response.content)

    async def look_up(self, job_id: str) -> httpx.Response:
        """Ask for a job, whatever comes of it."""
        return await self.http.get(f"/report-jobs/{job_id}")

    async def get(self, job_id: str) -> Job:
        """Return a job that has to be there."""
        response = await self.look_up(job_id)
        assert response.status_code == httpx.codes.OK, response.text
        return Job.model_validate_json(response.content)

    async def wait_until_status(
        self, job_id: str, statuses: Collection[str] = ENDED, *, seconds: float = _STATUS_SECONDS
    ) -> Job:
        """Return the job once it has one of `statuses`."""
        job = await self.get(job_id)

        async def has_status() -> bool:
            nonlocal job
            job = await self.get(job_id)
            return job.status in statuses

        try:
            await poll_until(has_status, seconds=seconds)
        except TimeoutError:
            raise AssertionError(f"after {seconds:g} s still {job!r}") from None
        return job

    async def list_jobs(self, **filters: str) -> list[Job]:
        """Return all jobs of a listing, page by page, newest first."""
        jobs = await self.try_to_list_jobs(**filters)
        assert jobs is not None, "the listing is temporarily unavailable"
        return jobs

    async def try_to_list_jobs(self, **filters: str) -> list[Job] | None:
        """Return all jobs of a listing; None where it is temporarily unavailable."""
        jobs: list[Job] = []
        parameters = {"pageSize": str(_PAGE), **filters}
        while True:
            response = await self.http.get("/report-jobs", params=parameters)
            if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                return None
            assert response.status_code == httpx.codes.OK, response.text
            document = response.json()
            jobs += [Job.model_validate(job) for job in document["reportJobs"]]
            if document["nextPageToken"] is None:
                return jobs
            parameters["pageToken"] = document["nextPageToken"]

    async def download(self, url: str | None) -> httpx.Response:
        """Fetch a report by its link."""
        assert url is not None, "the job has no downloadUrl"
        return await self.http.get(url)


@asynccontextmanager
async def reports_client(gateway_url: str) -> AsyncIterator[ReportsClient]:
    """Connect to a gateway while the body runs."""
    async with httpx.AsyncClient(base_url=gateway_url, timeout=_REQUEST_SECONDS) as http:
        yield ReportsClient(http)
