"""Sessions with the data sources: one connection to each is kept open between reports.

A session is one read-only transaction of one snapshot. Its connection goes on to the next report
only after a clean end, and as new: the transaction is rolled back, and with it every setting that
the report's SQL may have changed; what outlives a rollback (advisory locks of the session, and
what a plugin may have done beside the transaction) is reset in the same round trip.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

SOURCE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # between the server's last word and the end of the connection
    OSError,
    TimeoutError,
)
"""What a data source's driver raises."""

_PINNED_SETTINGS = {
    "application_name": "report-worker",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
}
"""Sent when connecting, which makes them what RESET goes back to."""

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {limit}"

# How soon the server notices that the client of a running query is gone: cancelled, or killed.
_NOTICE_CLIENT_GONE = "; SET LOCAL client_connection_check_interval = 500"
_FIRST_VERSION_THAT_NOTICES = 14

# What is in DISCARD ALL and can matter here. The rest of it costs the server's caches, and
# DISCARD ALL can't stand in one round trip with anything else.
_END = "ROLLBACK; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all()"
_END_LIMIT = 10.0


@dataclass(slots=True)
class Session:
    """A connection in its transaction, and what is known of the source for as long as it lasts."""

    connection: asyncpg.Connection
    connected_at: float
    checked: set[str] = field(default_factory=set)
    """Report types whose columns were held against the source."""


class SourceSessions:
    """Opens sessions with the sources (name -> URL); all limits in seconds.

    A connection is closed when nobody used it for `idle_limit`, or after use where it is older
    than `age_limit`: what is known of the source isn't believed for longer.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        *,
        connect_limit: float = 10.0,
        idle_limit: float = 20.0,
        age_limit: float = 300.0,
    ) -> None:
        self._urls = urls
        self.connect_limit = connect_limit
        self._idle_limit = idle_limit
        self._age_limit = age_limit
        self._kept: dict[str, tuple[Session, asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, source: str, *, statement_limit: float) -> AsyncIterator[Session]:
        """Begin a transaction; raises what `SOURCE_ERRORS` names.

        Leaving with an error or by cancellation drops the connection at once; the server ends
        what it still runs for it within half a second.
        """
        session = await self._begin(source, statement_limit)
        try:
            yield session
            await session.connection.execute(_END, timeout=_END_LIMIT)
        except BaseException:
            session.connection.terminate()
            raise
        self._keep(source, session)

    async def close(self) -> None:
        """Close the connections that are kept."""
        for source in list(self._kept):
            self._close(source)
        await asyncio.gather(*self._closing)

    async def _begin(self, source: str, statement_limit: float) -> Session:
        if source in self._kept:
            session, timer = self._kept.pop(source)
            timer.cancel()
            try:
                return await self._begun(session, statement_limit)
            except SOURCE_ERRORS:
                # It died while nobody used it: the server restarted, or somebody on the way
                # closed what was idle. Nothing has been read yet, so that a new one will do.
                pass
        return await self._begun(await self._connect(self._urls[source]), statement_limit)

    async def _begun(self, session: Session, statement_limit: float) -> Session:
        connection = session.connection
        try:
            begin = _BEGIN.format(limit=round(statement_limit * 1000))
            if connection.get_server_version().major >= _FIRST_VERSION_THAT_NOTICES:
                begin += _NOTICE_CLIENT_GONE
            await connection.execute(begin, timeout=self.connect_limit)
        except BaseException:
            connection.terminate()
            raise
        return session

    async def _connect(self, dsn: str) -> Session:
        connection = await asyncpg.connect(
            dsn,
            timeout=self.connect_limit,
            statement_cache_size=0,
            server_settings=_PINNED_SETTINGS,
        )
        return Session(connection, asyncio.get_running_loop().time())

    def _keep(self, source: str, session: Session) -> None:
        loop = asyncio.get_running_loop()
        if source in self._kept:  # of a report that read this source twice at once
            self._close(source)
        self._kept[source] = session, loop.call_later(self._idle_limit, self._close, source)
        if loop.time() - session.connected_at > self._age_limit:
            self._close(source)

    def _close(self, source: str) -> None:
        session, timer = self._kept.pop(source)
        timer.cancel()
        closing = asyncio.create_task(self._closed(session.connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _closed(self, connection: asyncpg.Connection) -> None:
        try:
            await connection.close(timeout=self.connect_limit)
        except SOURCE_ERRORS:
            connection.terminate()


@asynccontextmanager
async def open_session(
    dsn: str, *, statement_limit: float, connect_limit: float
) -> AsyncIterator[asyncpg.Connection]:
    """Open a session on a connection of its own, which is closed after it; limits in seconds."""
    sessions = SourceSessions({"": dsn}, connect_limit=connect_limit)
    try:
        async with sessions.open("", statement_limit=statement_limit) as session:
            yield session.connection
    finally:
        await sessions.close()
