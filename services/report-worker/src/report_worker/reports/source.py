"""A report's query in a snapshot of its data source: values in place, columns as declared."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg

from report_worker.reports.columns import column_mistakes
from report_worker.reports.errors import declared_wrongly, from_source_error
from report_worker.reports.literals import literal
from report_worker.reports.report import ReportSpec
from report_worker.reports.sessions import (
    SOURCE_ERRORS,
    Check,
    Session,
    SourceSessions,
    open_session,
)
from shared.catalogue import ReportType

__all__ = [
    "SOURCE_ERRORS",
    "Snapshot",
    "SourceSessions",
    "column_types",
    "open_session",
    "open_snapshot",
]

# The driver waits this much longer than the server's own limit, for a server that went silent.
_GRACE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A read-only transaction, and the report's query with its values in place."""

    session: Session
    query: str

    async def copy(
        self, select: str, options: str, output: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Hand on what COPY gives of a query, message by message; nothing comes after it."""
        await self.session.copy(f"COPY ({select}) TO STDOUT ({options})", output)

    async def cursor(self, select: str) -> asyncpg.cursor.Cursor:
        """Open a cursor on a query."""
        await self.session.begin()
        return await self.session.connection.cursor(select)


@asynccontextmanager
async def open_snapshot(spec: ReportSpec, sessions: SourceSessions) -> AsyncIterator[Snapshot]:
    """Open a session in which the query is checked; every error of the source is a `ReportError`.

    Leaving with an error or by cancellation drops the connection at once; the server ends what it
    still runs for it within half a second.
    """
    source, query = spec.report_type.source or "", _bound_query(spec)
    limit = spec.report_type.limits.statement_timeout.total_seconds()
    check = Check(spec.report_type.name, partial(_check_columns, spec.report_type, query))
    started = asyncio.get_running_loop().time()
    try:
        async with (
            asyncio.timeout(sessions.connect_limit + limit + _GRACE_SECONDS),
            sessions.prepare(source, statement_limit=limit, check=check) as session,
        ):
            started = asyncio.get_running_loop().time()
            yield Snapshot(session, query)
    except SOURCE_ERRORS as error:
        ran = asyncio.get_running_loop().time() - started
        raise from_source_error(error, ran_seconds=ran, limit_seconds=limit) from error


def _bound_query(spec: ReportSpec) -> str:
    bindings = spec.report_type.bindings(spec.request)
    return spec.report_type.query.render(
        {name: literal(binding) for name, binding in bindings.items()}
    )


async def _check_columns(
    report_type: ReportType, query: str, connection: asyncpg.Connection
) -> None:
    """Hold the declared columns against the query's; numbers that were floats are refused."""
    types = await column_types(connection, query)
    for mistake in column_mistakes(report_type.columns, types):
        raise declared_wrongly(report_type.name, mistake.reason)


async def column_types(connection: asyncpg.Connection, query: str) -> dict[str, str]:
    """Prepare a query; return its columns with the names of their PostgreSQL types."""
    statement = await connection.prepare(query)
    return {attribute.name: attribute.type.name for attribute in statement.get_attributes()}
