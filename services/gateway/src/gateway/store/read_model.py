"""Reads the projector's `read_model.jobs`, which the gateway's role may select from."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import asyncpg

from gateway.batching import Batches
from gateway.domain import (
    Job,
    JobDeletedError,
    JobExpiredError,
    JobFilter,
    ReadModelUnavailableError,
)
from gateway.store.job_rows import COLUMNS, job_of
from gateway.store.listing import page_statement
from shared.database.pool import PASSING_ERRORS, Database
from shared.events import RequestedReport
from shared.job_id import JobId, created_at

CHANGED_CHANNEL: Final = "report_jobs_read_model"
"""Where the projector tells which jobs changed: ids, or nothing where they are too many."""

# With the watermark in the same snapshot: it is advanced before rows are purged, so that a row
# that is missing and younger than it was never there.
# One plan for any number of jobs, made once. The subselects hide the number: knowing it, PostgreSQL
# would plan a read of one job anew each time, which takes as long as reading it. The limit lets
# each be looked up by its key, even where the table was small when that plan was made.
_GET: Final = f"""
    SELECT found.*, w.purged_before
    FROM unnest((SELECT $1::text[]), (SELECT $2::text[]))
        WITH ORDINALITY AS asked (job_id, tenant, position)
    CROSS JOIN (SELECT max(purged_before) AS purged_before FROM read_model.watermark) AS w
    LEFT JOIN LATERAL (
        SELECT {COLUMNS}, j.history, j.deleted_at FROM read_model.jobs AS j
        WHERE j.job_id = asked.job_id AND (asked.tenant IS NULL OR j.tenant = asked.tenant)
        LIMIT 1
    ) AS found ON true
    ORDER BY asked.position
"""  # noqa: S608 - constants only

_CURRENT: Final = f"""
    SELECT {COLUMNS}, j.history, j.tenant, j.deleted_at
    FROM read_model.jobs AS j WHERE j.job_id = ANY($1)
"""  # noqa: S608 - constants only
_REQUEST: Final = "SELECT request FROM read_model.jobs WHERE job_id = $1 AND tenant = $2"

_KNOWN: Final = """
    SELECT job_id, run, deleted_at FROM read_model.jobs WHERE job_id = ANY($1::text[])
"""

# From the index jobs_of_status alone, and no more of it than the limit.
_ACTIVE: Final = """
    SELECT tenant, (
        SELECT count(*) FROM (
            (SELECT FROM read_model.jobs j
             WHERE j.tenant = t.tenant AND status = 'PENDING' AND deleted_at IS NULL LIMIT $2)
            UNION ALL
            (SELECT FROM read_model.jobs j
             WHERE j.tenant = t.tenant AND status = 'RUNNING' AND deleted_at IS NULL LIMIT $2)
        ) AS one
    ) AS active
    FROM unnest($1::text[]) AS t (tenant)
"""

_IS_THERE: Final = "SELECT 1 FROM read_model.jobs LIMIT 0"

_UNAVAILABLE: Final = PASSING_ERRORS
"""All that Postgres says to a constant statement with checked values is about itself: a table
that its owner hasn't migrated yet, a right that is missing, a server that stops."""


_Asked = tuple[JobId, str | None]
"""A job, and the tenant whose it has to be; None: anybody's."""


class ReadModel:
    """The jobs that the projector knows of. Each call ends within `timeout` seconds.

    Single jobs are what is asked for most. Those that are asked for while a statement runs share
    the next one, since a connection and a round trip cost more than the row.
    """

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout
        self._reads = Batches(self._read, longest_queue=database.longest_queue, timeout=timeout)

    async def get(self, job_id: JobId, tenant: str) -> Job | None:
        """Return one job of a tenant, None where the projector hasn't heard of it.

        Raises:
            JobDeletedError: where only the tombstone is left.
            JobExpiredError: where not even a row is left of what there was.
            ReadModelUnavailableError: where the database doesn't answer.

        """
        return await self._get(job_id, tenant)

    async def get_linked(self, job_id: JobId) -> Job | None:
        """Return one job of whichever tenant.

        Raises:
            JobDeletedError, JobExpiredError, ReadModelUnavailableError: as `get` does.

        """
        return await self._get(job_id, None)

    async def current(
        self, asked: Collection[tuple[JobId, str]]
    ) -> dict[tuple[JobId, str], Job | None]:
        """Return which jobs there are of (id, tenant); None for a tombstone.

        Raises:
            ReadModelUnavailableError: where the database doesn't answer.

        """
        rows = await self._fetch(_CURRENT, list({job_id for job_id, _ in asked}))
        found = {(JobId(row["job_id"]), str(row["tenant"])): row for row in rows}
        return {
            one: None if found[one]["deleted_at"] else _whole(found[one])
            for one in found.keys() & set(asked)
        }

    async def request_of(self, job_id: JobId, tenant: str) -> RequestedReport | None:
        """Return what a tenant's job was asked for; None where it could never be read.

        Raises:
            ReadModelUnavailableError: where the database doesn't answer.

        """
        rows = await self._fetch(_REQUEST, job_id, tenant)
        if not rows or rows[0]["request"] is None:
            return None
        return RequestedReport.model_validate_json(rows[0]["request"])

    async def newest(
        self, tenant: str, chosen: JobFilter, *, first: JobId, before: JobId, limit: int
    ) -> list[Job]:
        """Return up to `limit` jobs of a tenant, newest first, with ids in [first, before).

        The filter's moments are in the ids' bounds already.

        Raises:
            ReadModelUnavailableError: where the database doesn't answer.

        """
        statement, arguments = page_statement(
            tenant, chosen, first=first, before=before, limit=limit
        )
        return [job_of(row) for row in (await self._fetch(statement, *arguments))[:limit]]

    async def known(self, runs: Mapping[JobId, int]) -> set[JobId]:
        """Return those of the jobs that have come to the run given, or were deleted.

        Raises:
            ReadModelUnavailableError: where the database doesn't answer.

        """
        return {
            JobId(row["job_id"])
            for row in await self._fetch(_KNOWN, list(runs))
            if row["deleted_at"] is not None or row["run"] >= runs[row["job_id"]]
        }

    async def count_active(self, tenants: Collection[str], limit: int) -> dict[str, int]:
        """Return how many jobs of each tenant haven't ended, counted up to `limit`.

        Raises:
            ReadModelUnavailableError: where the database doesn't answer.

        """
        rows = await self._fetch(_ACTIVE, list(tenants), limit)
        return {row["tenant"]: row["active"] for row in rows}

    async def check(self) -> None:
        """Raise unless the read model is there and may be read."""
        await self._fetch(_IS_THERE)

    async def _get(self, job_id: JobId, tenant: str | None) -> Job | None:
        try:
            row = await self._reads.ask((job_id, tenant))
        except TimeoutError as error:
            raise ReadModelUnavailableError(type(error).__name__) from error
        if row["deleted_at"] is not None:
            raise JobDeletedError
        if row["job_id"] is not None:
            return _whole(row)
        purged_before = row["purged_before"]
        if purged_before is not None and created_at(job_id) < purged_before:
            raise JobExpiredError
        return None

    async def _read(self, asked: Sequence[_Asked]) -> Sequence[asyncpg.Record]:
        """Return a row for each job that is asked for, in that order; empty where there is none."""
        return await self._fetch(
            _GET, [job_id for job_id, _ in asked], [tenant for _, tenant in asked]
        )

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        try:
            async with asyncio.timeout(self._timeout), self._database.connection() as connection:
                records: Sequence[asyncpg.Record] = await connection.fetch(query, *arguments)
        except _UNAVAILABLE as error:
            raise ReadModelUnavailableError(type(error).__name__) from error
        return records


def _whole(row: asyncpg.Record) -> Job:
    return job_of(row, row["history"])
