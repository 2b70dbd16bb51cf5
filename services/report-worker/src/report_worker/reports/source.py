"""One report's session with its data source: one snapshot, pinned settings, bound values."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from report_worker.reports.columns import column_mistakes
from report_worker.reports.errors import declared_wrongly, from_source_error
from report_worker.reports.report import ReportSpec
from shared.catalogue import Binding, ReportType

# The driver waits this much longer than the server's own limit, for a server that went silent.
_GRACE_SECONDS = 15.0

SOURCE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What a data source's driver raises."""

# How soon the server notices that the client of a running query is gone: cancelled, or killed.
_NOTICE_CLIENT_GONE = "SET client_connection_check_interval = '500ms'"
_FIRST_VERSION_THAT_NOTICES = 14

_PINNED_SETTINGS = {
    "application_name": "report-worker",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An open read-only transaction, and the report's query with its values in place."""

    connection: asyncpg.Connection
    query: str
    time_limit: float


@asynccontextmanager
async def open_snapshot(
    spec: ReportSpec, dsn: str, *, connect_limit: float
) -> AsyncIterator[Snapshot]:
    """Connect, begin, and prepare the query; every error of the source becomes a `ReportError`.

    Leaving with an error or by cancellation drops the connection at once; the server ends what it
    still runs for it within half a second.
    """
    started = asyncio.get_running_loop().time()
    limit = spec.report_type.limits.statement_timeout.total_seconds()
    try:
        async with (
            asyncio.timeout(connect_limit + limit + _GRACE_SECONDS),
            open_session(dsn, statement_limit=limit, connect_limit=connect_limit) as connection,
        ):
            query = await _bound_query(connection, spec)
            await _check_columns(connection, spec.report_type, query)
            started = asyncio.get_running_loop().time()
            yield Snapshot(connection, query, limit)
    except SOURCE_ERRORS as error:
        ran = asyncio.get_running_loop().time() - started
        raise from_source_error(error, ran_seconds=ran, limit_seconds=limit) from error


@asynccontextmanager
async def open_session(
    dsn: str, *, statement_limit: float, connect_limit: float
) -> AsyncIterator[asyncpg.Connection]:
    """Connect with pinned settings and begin a read-only transaction of one snapshot.

    Limits in seconds. Raises what `SOURCE_ERRORS` names. Leaving with an error or by cancellation
    drops the connection at once.
    """
    connection = await _connect(dsn, statement_limit, connect_limit)
    try:
        if connection.get_server_version().major >= _FIRST_VERSION_THAT_NOTICES:
            await connection.execute(_NOTICE_CLIENT_GONE, timeout=connect_limit)
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        await transaction.start()
        yield connection
        await transaction.rollback()
        await connection.close(timeout=connect_limit)
    finally:
        connection.terminate()


async def _connect(dsn: str, statement_limit: float, connect_limit: float) -> asyncpg.Connection:
    settings = {**_PINNED_SETTINGS, "statement_timeout": f"{statement_limit:.0f}s"}
    return await asyncpg.connect(
        dsn, timeout=connect_limit, statement_cache_size=0, server_settings=settings
    )


async def _bound_query(connection: asyncpg.Connection, spec: ReportSpec) -> str:
    """Put the request's values into the query as literals.

    COPY takes no bound parameters. So the values go to the server as bound parameters of their
    own, and come back quoted by the server itself.
    """
    bindings = spec.report_type.bindings(spec.request)
    literals = await _literals(connection, bindings)
    return spec.report_type.query.render(
        {name: f"{literals[name]}::{binding.type_name}" for name, binding in bindings.items()}
    )


async def _literals(
    connection: asyncpg.Connection, bindings: Mapping[str, Binding]
) -> dict[str, str]:
    quoted = ", ".join(
        f"quote_nullable((${number}::{binding.type_name})::text)"
        for number, binding in enumerate(bindings.values(), start=1)
    )
    values = [binding.value for binding in bindings.values()]
    row = await connection.fetchrow(f"SELECT {quoted}", *values)
    return dict(zip(bindings, row or (), strict=True))


async def _check_columns(
    connection: asyncpg.Connection, report_type: ReportType, query: str
) -> None:
    """Hold the declared columns against the query's; numbers that were floats are refused."""
    for mistake in column_mistakes(report_type.columns, await column_types(connection, query)):
        raise declared_wrongly(report_type.name, mistake.reason)


async def column_types(connection: asyncpg.Connection, query: str) -> dict[str, str]:
    """Prepare a query; return its columns with the names of their PostgreSQL types."""
    statement = await connection.prepare(query)
    return {attribute.name: attribute.type.name for attribute in statement.get_attributes()}
