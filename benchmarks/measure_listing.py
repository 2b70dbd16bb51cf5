"""A page of the listing among a million jobs, beside its rows fetched by their primary keys."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlencode

import asyncpg

from benchmarks.errors import BenchmarkError
from benchmarks.jobs import OK
from benchmarks.many_jobs import MANY, fill
from benchmarks.samples import Summary
from benchmarks.stack import Stack
from benchmarks.wire import Answer, Client, get
from gateway.domain import DEFAULT_PAGE_SIZE, JobFilter
from gateway.store.job_rows import COLUMNS
from gateway.store.listing import page_statement
from shared.clock import utc_now
from shared.job_id import PREFIX, JobId, earliest

_ROUNDS: Final = 300
_WARM_UP_ROUNDS: Final = 20
_PAGES_BEFORE: Final = 99
_TENANT: Final = "default"
_TYPE: Final = "NO_OP"
_TYPES: Final = {"all jobs": None, "one report type": _TYPE}
_BUSY: Final = ("report-worker", "status-projector", "notifier")
_NEWEST: Final = JobId(f"{PREFIX}w")
"""Sorts behind all ids."""
_MOMENT: Final = slice(len(PREFIX) + 10)
"""So much of an id tells its moment."""
_Way: TypeAlias = Callable[[], Awaitable[object]]
_COLUMNS: Final = """
SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns
WHERE table_schema = 'read_model' AND table_name = 'jobs'
  AND is_generated = 'NEVER' AND column_name <> 'job_id'
"""
# A process may have been stopped within a transaction: as long as that is open, VACUUM doesn't
# see the table's rows as settled.
_END_TRANSACTIONS: Final = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_BY_KEY: Final = f"""
SELECT {COLUMNS} FROM read_model.jobs AS j WHERE j.job_id = ANY($1) ORDER BY j.job_id DESC
"""  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class Page:
    """One page: by GET, by its statement alone, and its rows by their keys."""

    listing: str
    number: int
    get: Summary
    statement: Summary
    by_key: Summary


@dataclass(frozen=True, slots=True)
class Listing:
    """The pages of 20 among so many jobs of one tenant."""

    jobs: int
    pages: tuple[Page, ...]


async def measure_listing(stack: Stack) -> Listing:
    """Copy a job a million times, and ask for the first page and the hundredth."""
    connection = await asyncpg.connect(stack.database)
    try:
        with stack.paused(*_BUSY):
            with stack.paused("gateway"):
                await _copy_one_job(connection)
            client = await Client.connect(stack.gateway_port)
            try:
                pages = [
                    page
                    for name, report_type in _TYPES.items()
                    for page in await _Listing(name, report_type, client, connection).measure()
                ]
            finally:
                client.close()
    finally:
        await connection.close()
    return Listing(MANY, tuple(pages))


async def _copy_one_job(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Fill the table with what an ended job really leaves in it, under ids of this moment."""
    columns = await connection.fetchval(_COLUMNS)
    insert = f"""
        INSERT INTO read_model.jobs (job_id, {columns})
        SELECT $1 || lpad(n::text, 30, '0'), {columns}
        FROM (SELECT {columns} FROM read_model.jobs
              WHERE status = 'COMPLETED' AND report_type = '{_TYPE}' LIMIT 1) AS one,
             generate_series(1, $2::int) AS n
    """  # noqa: S608 - the table's own names, and a constant
    await connection.execute(_END_TRANSACTIONS)
    await fill(connection, insert, earliest(utc_now())[_MOMENT], MANY)


class _Listing:
    """Measures one listing."""

    def __init__(
        self,
        name: str,
        report_type: str | None,
        client: Client,
        connection: "asyncpg.Connection[asyncpg.Record]",
    ) -> None:
        self._name = name
        self._report_type = report_type
        self._client = client
        self._connection = connection

    async def measure(self) -> list[Page]:
        """Fetch both pages in every way in turns, again and again."""
        begins = {1: (None, _NEWEST), _PAGES_BEFORE + 1: await self._hundredth()}
        ways = {number: await self._ways(*begin) for number, begin in begins.items()}
        taken = await _in_turns([way for of_page in ways.values() for way in of_page])
        return [
            Page(self._name, number, *(taken[way] for way in of_page))
            for number, of_page in ways.items()
        ]

    async def _hundredth(self) -> tuple[str | None, JobId]:
        """Page through ninety-nine pages; return the token of the next, and where it begins."""
        token: str | None = None
        last = _NEWEST
        for _ in range(_PAGES_BEFORE):
            page = (await self._ask(token)).json()
            token, last = page["nextPageToken"], JobId(page["reportJobs"][-1]["jobId"])
        return token, last

    async def _ways(self, token: str | None, before: JobId) -> tuple[_Way, _Way, _Way]:
        """Return how a page is fetched: by GET, by its statement, and its rows by their keys."""
        ids = [job["jobId"] for job in (await self._ask(token)).json()["reportJobs"]]
        statement, arguments = page_statement(
            _TENANT,
            JobFilter(report_type=self._report_type),
            first=JobId(PREFIX),
            before=before,
            limit=DEFAULT_PAGE_SIZE + 1,
        )
        fetch = self._connection.fetch
        return (
            lambda: self._ask(token),
            lambda: fetch(statement, *arguments),
            lambda: fetch(_BY_KEY, ids),
        )

    async def _ask(self, token: str | None) -> Answer:
        query = {"reportType": self._report_type, "pageToken": token}
        given = urlencode({name: value for name, value in query.items() if value is not None})
        answer = await self._client.ask(get(f"/report-jobs?{given}"))
        if answer.status != OK:
            raise BenchmarkError(f"the gateway refused a listing: {answer.body.decode()}")
        return answer


async def _in_turns(ways: Sequence[_Way]) -> Mapping[_Way, Summary]:
    taken: dict[_Way, list[float]] = {way: [] for way in ways}
    for turn in range(_WARM_UP_ROUNDS + _ROUNDS):
        for way in ways:
            began = time.perf_counter()
            await way()
            if turn >= _WARM_UP_ROUNDS:
                taken[way].append(time.perf_counter() - began)
    return {way: Summary.of(seconds) for way, seconds in taken.items()}
