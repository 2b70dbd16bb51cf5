"""A data source as plugins see it: one snapshot, opened at the first query."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import asyncpg

from report_worker.reports.errors import from_source_error
from report_worker.reports.sessions import SOURCE_ERRORS, SourceSessions
from shared.catalogue import SqlTemplate, parse_sql

# In this order: a bool is an int, and a datetime a date.
_SQL_TYPES = {
    bool: "boolean",
    int: "bigint",
    Decimal: "numeric",
    str: "text",
    datetime: "timestamptz",
    date: "date",
}


class SnapshotSource:
    """Queries of one snapshot of one database; the limit of each is in seconds.

    The session ends with `sessions`. Queries of several tasks take turns, and so do the batches of
    several queries.
    """

    def __init__(
        self,
        name: str,
        sources: SourceSessions,
        sessions: AsyncExitStack,
        *,
        statement_limit: float,
    ) -> None:
        self._name = name
        self._sources = sources
        self._sessions = sessions
        self._statement_limit = statement_limit
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def rows(self, sql: str, /, **values: Any) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows."""
        query, bound = bind(parse_sql(sql), values)
        async with self._session() as connection:
            return [tuple(row) for row in await connection.fetch(query, *bound)]

    async def batches(
        self, sql: str, /, *, size: int = 1000, **values: Any
    ) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Run a query and give its rows as they are read."""
        query, bound = bind(parse_sql(sql), values)
        async with self._session() as connection:
            cursor = await connection.cursor(query, *bound)
        while True:
            async with self._session():
                rows = await cursor.fetch(size)
            if not rows:
                return
            yield [tuple(row) for row in rows]

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncpg.Connection]:
        """Have a turn with the connection; what the database raises becomes a `ReportError`."""
        async with self._turn:
            started = asyncio.get_running_loop().time()
            try:
                # The server's own limit comes first; this one is for a server that went silent.
                async with asyncio.timeout(self._sources.connect_limit + self._statement_limit):
                    yield await self._connected()
            except SOURCE_ERRORS as error:
                ran = asyncio.get_running_loop().time() - started
                raise from_source_error(
                    error, ran_seconds=ran, limit_seconds=self._statement_limit
                ) from error

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None:
            opening = self._sources.open(self._name, statement_limit=self._statement_limit)
            session = await self._sessions.enter_async_context(opening)
            self._connection = session.connection
        return self._connection


def bind(template: SqlTemplate, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Give the SQL with numbered parameters of the values' types, and the values in that order.

    Raises TypeError for values that are missing, superfluous, or of a type that can't be bound.
    """
    if set(values) != template.parameter_names:
        wrong = sorted(set(values) ^ template.parameter_names)
        raise TypeError(f"the query's named values and those given differ in {', '.join(wrong)}")
    expressions: dict[str, str] = {}
    bound: list[Any] = []
    for name, value in values.items():
        if value is None or value == []:
            # Without a type of its own, so that it takes the one of the place where it stands.
            expressions[name] = "NULL" if value is None else "'{}'"
            continue
        bound.append(value)
        expressions[name] = f"${len(bound)}::{_sql_type(name, value)}"
    return template.render(expressions), bound


def _sql_type(name: str, value: Any) -> str:
    if isinstance(value, list):
        element = next((one for one in value if one is not None), "")
        return f"{_sql_type(name, element)}[]"
    for python_type, sql_type in _SQL_TYPES.items():
        if isinstance(value, python_type):
            return sql_type
    raise TypeError(f"{name} is of type {type(value).__name__}, which no query is given")
