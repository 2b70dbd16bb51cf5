"""Reads the projector's `read_model.jobs`, which the gateway's role may select from."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from gateway.domain import (
    Job,
    JobFilter,
    JobStatus,
    ReadModelUnavailableError,
    StoredArtifact,
    WebhookOutcome,
)
from shared.database.pool import TRANSIENT_ERRORS, Database
from shared.job_id import JobId

_COLUMNS: Final = """
    job_id, status, created_at, updated_at, report_type, format, started_at, finished_at,
    error_code, error_message, retryable, row_count,
    artifact_path, file_name, media_type, byte_count, sha256,
    webhook_status, webhook_attempts, webhook_updated_at
"""

_GET: Final = f"""
    SELECT {_COLUMNS} FROM read_model.jobs WHERE job_id = $1 AND tenant = $2
"""  # noqa: S608 - constants only

_GET_LINKED: Final = f"""
    SELECT {_COLUMNS} FROM read_model.jobs WHERE job_id = $1
"""  # noqa: S608 - constants only

_NEWEST: Final = f"""
    SELECT {_COLUMNS} FROM read_model.jobs
    WHERE tenant = $1 AND job_id >= $2 AND job_id < $3
      AND ($4::text IS NULL OR status = $4) AND ($5::text IS NULL OR report_type = $5)
    ORDER BY job_id DESC LIMIT $6
"""  # noqa: S608 - constants only

_IS_THERE: Final = "SELECT 1 FROM read_model.jobs LIMIT 0"

_UNAVAILABLE: Final = (*TRANSIENT_ERRORS, asyncpg.PostgresError)
"""All that Postgres says to a constant statement with checked values is about itself: a table
that its owner hasn't migrated yet, a right that is missing, a server that stops."""


class ReadModel:
    """The jobs that the projector knows of. Each call ends within `timeout` seconds."""

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout

    async def get(self, job_id: JobId, tenant: str) -> Job | None:
        """Return one job of a tenant.

        Raises:
            ReadModelUnavailableError: where the database doesn't answer.

        """
        records = await self._fetch(_GET, job_id, tenant)
        return _job(records[0]) if records else None

    async def get_linked(self, job_id: JobId) -> Job | None:
        """Return one job of whichever tenant.

        Raises:
            ReadModelUnavailableError: where the database doesn't answer.

        """
        records = await self._fetch(_GET_LINKED, job_id)
        return _job(records[0]) if records else None

    async def newest(
        self, tenant: str, chosen: JobFilter, *, first: JobId, before: JobId, limit: int
    ) -> list[Job]:
        """Return up to `limit` jobs of a tenant, newest first, with ids in [first, before).

        The filter's moments are in the ids' bounds already.

        Raises:
            ReadModelUnavailableError: where the database doesn't answer.

        """
        records = await self._fetch(
            _NEWEST, tenant, first, before, chosen.status, chosen.report_type, limit
        )
        return [_job(record) for record in records]

    async def check(self) -> None:
        """Raise unless the read model is there and may be read."""
        await self._fetch(_IS_THERE)

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        try:
            async with asyncio.timeout(self._timeout), self._database.connection() as connection:
                records: Sequence[asyncpg.Record] = await connection.fetch(query, *arguments)
        except _UNAVAILABLE as error:
            raise ReadModelUnavailableError(type(error).__name__) from error
        return records


def _job(record: asyncpg.Record) -> Job:
    status = JobStatus(record["status"])
    has_failed = status is JobStatus.FAILED
    return Job(
        job_id=JobId(record["job_id"]),
        status=status,
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        report_type=record["report_type"],
        format=record["format"],
        started_at=record["started_at"],
        finished_at=record["finished_at"],
        # While a run goes on, the error of an earlier attempt says nothing about its end.
        error_code=record["error_code"] if has_failed else None,
        error_message=record["error_message"] if has_failed else None,
        retryable=record["retryable"] if has_failed else None,
        row_count=record["row_count"],
        artifact=_artifact(record) if status is JobStatus.COMPLETED else None,
        webhook=_webhook(record),
    )


def _artifact(record: asyncpg.Record) -> StoredArtifact | None:
    if record["artifact_path"] is None:
        return None
    return StoredArtifact(
        path=record["artifact_path"],
        file_name=record["file_name"],
        media_type=record["media_type"],
        byte_count=record["byte_count"],
        sha256=record["sha256"],
    )


def _webhook(record: asyncpg.Record) -> WebhookOutcome | None:
    if record["webhook_status"] is None:
        return None
    return WebhookOutcome(
        status=record["webhook_status"],
        attempts=record["webhook_attempts"],
        updated_at=record["webhook_updated_at"],
    )
