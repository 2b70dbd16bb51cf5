"""Sessions with the data sources: one connection to each is kept open between reports.

A session is one read-only transaction of one snapshot. Its connection goes on to the next report
only after a clean end, and as new: the transaction is rolled back, and with it every setting that
the report's SQL may have changed; what outlives a rollback (advisory locks of the session, and
what a plugin may have done beside the transaction) is reset in the same round trip.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg

from report_worker.reports.errors import rows_interrupted

SOURCE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # between the server's last word and the end of the connection
    OSError,
    TimeoutError,
)
"""What a data source's driver raises."""

_GONE_ERRORS = (
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""Those of them that a connection raises whose server has gone away."""

_PINNED_SETTINGS = {
    "application_name": "report-worker",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    # The driver loses rows of a COPY in whose midst the server sends a message. One of level INFO
    # is sent all the same, and SQL may change the setting: see `_copy`.
    "client_min_messages": "error",
}
"""Sent when connecting, which makes them what RESET goes back to."""

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {limit}"

# How soon the server notices that the client of a running query is gone: cancelled, or killed.
_NOTICE_CLIENT_GONE = "; SET LOCAL client_connection_check_interval = 500"
_FIRST_VERSION_THAT_NOTICES = 14
_FIRST_VERSION_THAT_TIMES_EACH_STATEMENT = 13

# What is in DISCARD ALL and can matter here. The rest of it costs the server's caches, and
# DISCARD ALL can't stand in one round trip with anything else.
_END = "ROLLBACK; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all()"
_END_LIMIT = 10.0


@dataclass(slots=True)
class _Link:
    """A connection, and what is known of the source for as long as it lasts."""

    connection: asyncpg.Connection
    connected_at: float
    answered_at: float
    is_kept: bool = False
    """Whether a report used it before this one: then it may have died since."""
    checked: set[str] = field(default_factory=set)
    has_remarked: bool = False
    """Whether the server has said something beside the rows of the COPY that it was asked last."""

    def note_remark(self, _connection: object, _message: object) -> None:
        """Note one; called before the statement in which it was said is seen to end."""
        self.has_remarked = True


@dataclass(frozen=True, slots=True)
class Check:
    """What has to be seen once on each connection before it is used: a name, and who looks."""

    name: str
    look: Callable[[asyncpg.Connection], Awaitable[None]]


class Session:
    """One transaction, which begins when it is told to, or together with a COPY."""

    def __init__(
        self,
        link: _Link,
        connect: Callable[[], Awaitable[_Link]],
        check: Check | None,
        *,
        statement_limit: float,
        connect_limit: float,
        trust: float,
    ) -> None:
        self.link = link
        self._connect = connect
        self._check = check
        self._statement_limit = statement_limit
        self._connect_limit = connect_limit
        self._trust = trust
        self._has_begun = False
        self._has_ended = False

    @property
    def connection(self) -> asyncpg.Connection:
        """The connection; its transaction is there after `begin`."""
        return self.link.connection

    async def begin(self) -> None:
        """Begin the transaction, unless it has begun, and check what is to be checked."""
        if self._has_begun:
            return
        try:
            await self.connection.execute(self._begin, timeout=self._connect_limit)
        except SOURCE_ERRORS:
            if not self.link.is_kept:
                raise
            await self._connect_anew()
            await self.connection.execute(self._begin, timeout=self._connect_limit)
        self._has_begun = True
        self._note_answer()
        if self._check is not None and not self._is_checked:
            await self._check.look(self.connection)
            self.link.checked.add(self._check.name)

    async def copy(self, statement: str, output: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand the output of a COPY TO STDOUT to `output`, and end the transaction.

        It fails as a report does where the server sent a message beside the rows.

        A report without many rows costs little else than its round trips, so that there is one
        where BEGIN needn't find out first whether the connection leads anywhere.
        """
        if not (self._can_begin_with_copy and self._is_checked):
            await self.begin()
        is_empty = True

        async def noted(piece: bytes) -> None:
            nonlocal is_empty
            is_empty = False
            self._require_whole()
            await output(piece)

        try:
            await self._copy(statement, noted)
        except _GONE_ERRORS:
            if self._has_begun or not is_empty or not self.link.is_kept:
                raise
            await self._connect_anew()
            await self.begin()
            await self._copy(statement, noted)
        self._has_ended = True
        self._note_answer()

    async def end(self) -> None:
        """End the transaction, if there is one, and make the connection as new."""
        if self._has_begun and not self._has_ended:
            await self.connection.execute(_END, timeout=_END_LIMIT)
            self._note_answer()

    def _note_answer(self) -> None:
        self.link.answered_at = asyncio.get_running_loop().time()

    @property
    def _begin(self) -> str:
        begin = _BEGIN.format(limit=round(self._statement_limit * 1000))
        if self._server_version >= _FIRST_VERSION_THAT_NOTICES:
            begin += _NOTICE_CLIENT_GONE
        return begin

    @property
    def _server_version(self) -> int:
        return self.connection.get_server_version().major

    @property
    def _is_checked(self) -> bool:
        return self._check is None or self._check.name in self.link.checked

    @property
    def _can_begin_with_copy(self) -> bool:
        """Whether the answer to BEGIN can be done without.

        A connection that leads nowhere any more says nothing, and nobody would know before the
        report's time is over.
        """
        silent = asyncio.get_running_loop().time() - self.link.answered_at
        is_timed = self._server_version >= _FIRST_VERSION_THAT_TIMES_EACH_STATEMENT
        return is_timed and silent < self._trust

    async def _copy(self, statement: str, output: Callable[[bytes], Awaitable[None]]) -> None:
        parts = (statement, _END) if self._has_begun else (self._begin, statement, _END)
        connection: Any = self.connection
        self.link.has_remarked = False
        # The public method builds one statement of its own, in a round trip of its own.
        await connection._copy_out("; ".join(parts), output, None)  # noqa: SLF001
        self._require_whole()

    def _require_whole(self) -> None:
        if self.link.has_remarked:
            raise rows_interrupted()

    async def _connect_anew(self) -> None:
        """Replace a connection that died while nobody used it.

        The server restarted, or somebody on the way closed what was idle. Nothing has been read
        yet, so that a new one will do.
        """
        self.connection.terminate()
        self.link = await self._connect()


def pass_over_abandoned_copies(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Be the loop's exception handler, and leave out what the driver forgets of a failed COPY.

    Where the server's last word came while the connection was idle, a COPY fails before the driver
    waits for its answer, and the future for it ends unseen with the connection. The failure itself
    was raised, and answered with another connection.
    """
    error, future = context.get("exception"), context.get("future")
    is_lost = isinstance(error, asyncpg.ConnectionDoesNotExistError)
    if not (is_lost and type(future) is asyncio.Future):  # a task is somebody else's
        loop.default_exception_handler(context)


class SourceSessions:
    """Opens sessions with the sources (name -> URL); all limits in seconds.

    A connection is closed when nobody used it for `idle_limit`, or after use where it is older
    than `age_limit`: what is known of the source isn't believed for longer. For `trust` after it
    has answered, a connection is believed to lead to its server.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        *,
        connect_limit: float = 10.0,
        idle_limit: float = 20.0,
        age_limit: float = 300.0,
        trust: float = 1.0,
    ) -> None:
        self._urls = urls
        self.connect_limit = connect_limit
        self._idle_limit = idle_limit
        self._age_limit = age_limit
        self._trust = trust
        self._kept: dict[str, tuple[_Link, asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, source: str, *, statement_limit: float) -> AsyncIterator[Session]:
        """Begin a transaction; raises what `SOURCE_ERRORS` names.

        Leaving with an error or by cancellation drops the connection at once; the server ends
        what it still runs for it within half a second.
        """
        async with self.prepare(source, statement_limit=statement_limit) as session:
            await session.begin()
            yield session

    @asynccontextmanager
    async def prepare(
        self, source: str, *, statement_limit: float, check: Check | None = None
    ) -> AsyncIterator[Session]:
        """Do as `open` does, but leave it to the body when the transaction begins."""
        connect = partial(self._connect, self._urls[source])
        session = Session(
            self._kept_link(source) or await connect(),
            connect,
            check,
            statement_limit=statement_limit,
            connect_limit=self.connect_limit,
            trust=self._trust,
        )
        try:
            yield session
            await session.end()
        except BaseException:
            session.connection.terminate()
            raise
        self._keep(source, session.link)

    async def close(self) -> None:
        """Close the connections that are kept."""
        for source in list(self._kept):
            self._close(source)
        await asyncio.gather(*self._closing)

    def _kept_link(self, source: str) -> _Link | None:
        if source not in self._kept:
            return None
        link, timer = self._kept.pop(source)
        timer.cancel()
        return None if link.connection.is_closed() else link

    async def _connect(self, dsn: str) -> _Link:
        connection = await asyncpg.connect(
            dsn,
            timeout=self.connect_limit,
            statement_cache_size=0,
            server_settings=_PINNED_SETTINGS,
        )
        now = asyncio.get_running_loop().time()
        link = _Link(connection, connected_at=now, answered_at=now)
        connection.add_log_listener(link.note_remark)
        return link

    def _keep(self, source: str, link: _Link) -> None:
        loop = asyncio.get_running_loop()
        link.is_kept = True
        if source in self._kept:  # of a report that read this source twice at once
            self._close(source)
        self._kept[source] = link, loop.call_later(self._idle_limit, self._close, source)
        if loop.time() - link.connected_at > self._age_limit:
            self._close(source)

    def _close(self, source: str) -> None:
        link, timer = self._kept.pop(source)
        timer.cancel()
        closing = asyncio.create_task(self._closed(link.connection))
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
