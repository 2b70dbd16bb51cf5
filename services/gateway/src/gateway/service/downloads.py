"""Hands out a report's file to whoever holds a valid link."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.domain import (
    ArtifactMissingError,
    JobNotFoundError,
    LinkExpiredError,
    LinkForgedError,
    ReportNotReadyError,
    StoredArtifact,
)
from gateway.service.jobs import Jobs
from gateway.store import OpenArtifact
from shared.job_id import is_well_formed
from shared.links import DownloadLinks, LinkVerdict

_log = structlog.get_logger()


class Artifacts(Protocol):
    """The artifact store."""

    async def size(self, path: str) -> int:
        """Return the size of a file."""

    async def open(self, path: str) -> OpenArtifact:
        """Open a file."""


@dataclass(frozen=True, slots=True)
class Download:
    """A report's file; `chunks` is None where only its description was asked for."""

    artifact: StoredArtifact
    chunks: AsyncIterator[bytes] | None


@dataclass(frozen=True, slots=True)
class Downloads:
    """Checks links and opens what they lead to."""

    jobs: Jobs
    links: DownloadLinks
    artifacts: Artifacts

    async def fetch(self, job_id: str, *, exp: str, sig: str, with_content: bool) -> Download:
        """Return the file of a job for a link's `exp` and `sig`.

        Raises:
            LinkForgedError, LinkExpiredError: for what the link is not.
            JobNotFoundError, JobExpiredError: where there is no such job, or no longer.
            ReportNotReadyError: where the job isn't completed.
            ArtifactMissingError: where the store lost the file.
            ReadModelUnavailableError, ArtifactStoreUnavailableError: for a later try.

        """
        self._check_link(job_id, exp, sig)
        job = await self.jobs.find_linked(job_id)
        artifact = job.artifact
        if artifact is None:
            raise ReportNotReadyError(job.status)
        try:
            return await self._open(artifact, with_content=with_content)
        except ArtifactMissingError:
            _log.exception("artifact missing", job_id=job_id, path=artifact.path)
            raise

    def _check_link(self, job_id: str, exp: str, sig: str) -> None:
        if not is_well_formed(job_id):
            raise JobNotFoundError
        match self.links.check(job_id, exp, sig):
            case LinkVerdict.FORGED:
                raise LinkForgedError
            case LinkVerdict.EXPIRED:
                raise LinkExpiredError
            case LinkVerdict.VALID:
                return

    async def _open(self, artifact: StoredArtifact, *, with_content: bool) -> Download:
        if not with_content:
            size, chunks = await self.artifacts.size(artifact.path), None
        else:
            opened = await self.artifacts.open(artifact.path)
            size, chunks = opened.byte_count, opened.chunks
        if size != artifact.byte_count:
            # Another file lies there: its digest and length would be lies.
            raise ArtifactMissingError(artifact.path)
        return Download(artifact, chunks)
