"""The JSON of jobs as GET shows them, kept for whoever asks again before they have changed."""

from typing import Final

from gateway.domain import Job
from gateway.routes.contract import ReportJobDetails
from gateway.service import Jobs
from shared.job_id import JobId

_LARGEST: Final = 16 * 1024
"""Bytes of a representation that is kept; a job with a long history is put together each time."""


class Representations:
    """The last representation of each of the `most` jobs that were asked for lately.

    Whoever polls asks for one state many times, and to put its JSON together is much of what an
    answer costs. A job is compared with the one that was shown, so nothing out of date is.
    """

    def __init__(self, jobs: Jobs, most: int = 4096) -> None:
        self._jobs = jobs
        self._most = most
        self._kept: dict[JobId, tuple[Job, bytes]] = {}

    def of(self, job: Job) -> bytes:
        """Return a job's JSON with all that is known to have happened to it."""
        kept = self._kept.pop(job.job_id, None)
        if kept is None or kept[0] != job:
            kept = job, ReportJobDetails.of(self._jobs.view(job)).json_bytes()
        if len(kept[1]) <= _LARGEST:
            self._kept[job.job_id] = kept  # as the youngest
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
        return kept[1]
