"""Hands out a report's file to whoever holds a valid link."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

import structlog

from gateway.domain import (
    ArtifactMissingError,
    ByteRange,
    Conditions,
    Job,
    JobNotFoundError,
    LinkExpiredError,
    LinkForgedError,
    Precondition,
    PreconditionFailedError,
    ReportNotReadyError,
    StoredArtifact,
    Validators,
    requested_range,
)
from gateway.service.jobs import Jobs
from gateway.store import OpenArtifact
from shared.job_id import is_well_formed
from shared.links import DownloadLinks, LinkVerdict

_log = structlog.get_logger()

Method = Literal["GET", "HEAD"]


class Artifacts(Protocol):
    """The artifact store."""

    @property
    def signs_urls(self) -> bool:
        """Whether clients are to fetch files from the store itself."""

    async def signed_url(self, path: str, method: Method, longest: timedelta) -> str:
        """Return a URL by which anybody may use `method` on a file for a short time."""

    async def size(self, path: str) -> int:
        """Return the size of a file."""

    async def open(self, path: str, part: ByteRange | None) -> OpenArtifact:
        """Open a file, or a part of it."""


@dataclass(frozen=True, slots=True)
class FileRequest:
    """What a client asks of a file; the headers as they came."""

    method: Method
    conditions: Conditions
    range: str | None
    if_range: str | None


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report's file, and what tells it from any other."""

    artifact: StoredArtifact
    validators: Validators


@dataclass(frozen=True, slots=True)
class Download:
    """A file or one part of it; `chunks` is None where only its description was asked for."""

    file: ReportFile
    part: ByteRange | None
    chunks: AsyncGenerator[bytes, None] | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The client has the file already."""

    file: ReportFile


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The file is handed out by the store, under a URL made at this moment."""

    file: ReportFile
    url: str


@dataclass(frozen=True, slots=True)
class Downloads:
    """Checks links and opens what they lead to."""

    jobs: Jobs
    links: DownloadLinks
    artifacts: Artifacts

    async def fetch(
        self, job_id: str, request: FileRequest, *, exp: str, sig: str
    ) -> Download | NotModified | Elsewhere:
        """Return what a request gets of a job's file, for a link's `exp` and `sig`.

        Raises:
            LinkForgedError, LinkExpiredError: for what the link is not.
            JobNotFoundError, JobExpiredError: where there is no such job, or no longer.
            ReportNotReadyError: where the job isn't completed.
            PreconditionFailedError, RangeNotSatisfiableError: for what the file is not.
            ArtifactMissingError: where the store lost the file.
            ReadModelUnavailableError, ArtifactStoreUnavailableError: for a later try.

        """
        self._check_link(job_id, exp, sig)
        file = _file_of(await self.jobs.find_linked(job_id))
        try:
            if self.artifacts.signs_urls:
                return await self._elsewhere(file, request.method, int(exp))
            return await self._from_here(file, request)
        except ArtifactMissingError:
            _log.exception("artifact missing", job_id=job_id, path=file.artifact.path)
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

    async def _elsewhere(self, file: ReportFile, method: Method, exp: int) -> Elsewhere:
        """Send the client to the store, whose own validators and ranges hold there.

        The URL ends with the link at the latest; the shortest that there is lives for a second.
        """
        await self._require(file.artifact)
        left = max(exp - int(self.jobs.clock().timestamp()), 1)
        longest = timedelta(seconds=left)
        return Elsewhere(file, await self.artifacts.signed_url(file.artifact.path, method, longest))

    async def _from_here(self, file: ReportFile, request: FileRequest) -> Download | NotModified:
        match request.conditions.judge(file.validators):
            case Precondition.FAILED:
                raise PreconditionFailedError
            case Precondition.NOT_MODIFIED:
                return NotModified(file)
            case Precondition.HOLDS:
                pass
        artifact = file.artifact
        if request.method == "HEAD":
            await self._require(artifact)
            return Download(file, part=None, chunks=None)
        part = requested_range(
            request.range, request.if_range, artifact.byte_count, file.validators
        )
        if part is not None:
            await self._require(artifact)  # else another, shorter file could refuse the range
        opened = await self.artifacts.open(artifact.path, part)
        _check_size(artifact, opened.byte_count)
        return Download(file, part, opened.chunks)

    async def _require(self, artifact: StoredArtifact) -> None:
        _check_size(artifact, await self.artifacts.size(artifact.path))


def _file_of(job: Job) -> ReportFile:
    if job.artifact is None:
        raise ReportNotReadyError(job.status)
    modified_at = job.finished_at or job.updated_at
    return ReportFile(job.artifact, Validators(job.artifact.sha256, modified_at))


def _check_size(artifact: StoredArtifact, size: int) -> None:
    if size != artifact.byte_count:
        # Another file lies there: its digest and length would be lies.
        raise ArtifactMissingError(artifact.path)
