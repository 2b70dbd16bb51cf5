"""Sessions with data sources: kept between reports, as new for each, and dropped when in doubt."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from report_worker.reports import ReportError
from report_worker.reports.literals import literal
from report_worker.reports.sessions import (
    SOURCE_ERRORS,
    SourceSessions,
    pass_over_abandoned_copies,
)
from shared.catalogue import Binding, SqlType
from tests.integration.report_worker.reports.conftest import Make, files_in, report_type
from tests.support.relay import GOODBYE, Relay
from tests.support.servers import DatabaseUrls, LocalPostgres

LIMIT = 60.0

Way = Callable[..., Awaitable[Any]]


async def ask(sessions: SourceSessions, sql: str = "SELECT pg_backend_pid()") -> Any:
    async with sessions.open("orders", statement_limit=LIMIT) as session:
        return await session.connection.fetchval(sql)


async def ask_by_copy(sessions: SourceSessions, sql: str = "SELECT pg_backend_pid()") -> str:
    """Ask as an export does, in one round trip where the connection has just been used."""
    pieces: list[bytes] = []

    async def add(piece: bytes) -> None:
        pieces.append(piece)

    async with sessions.prepare("orders", statement_limit=LIMIT) as session:
        await session.copy(f"COPY ({sql}) TO STDOUT", add)
    return b"".join(pieces).decode().rstrip()


WAYS = pytest.mark.parametrize("way", [ask, ask_by_copy])


async def until_gone(admin: asyncpg.Connection, pid: int) -> None:
    async with asyncio.timeout(20):
        sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1"
        while await admin.fetchval(sql, pid):  # noqa: ASYNC110 - another process has to get there
            await asyncio.sleep(0.02)


async def test_a_connection_is_kept_from_report_to_report(sources: SourceSessions) -> None:
    assert len({int(await way(sources)) for way in (ask, ask_by_copy, ask_by_copy, ask)}) == 1


async def test_sessions_at_once_have_a_connection_each(
    sources: SourceSessions, admin: asyncpg.Connection
) -> None:
    async with sources.open("orders", statement_limit=LIMIT) as outer:
        inner = await ask(sources)
        assert inner != outer.connection.get_server_pid()
    await until_gone(admin, inner)
    assert await ask(sources) == outer.connection.get_server_pid()


@pytest.mark.parametrize(
    "change",
    [
        "SELECT set_config('TimeZone', 'Asia/Tokyo', false)",
        "SELECT set_config('search_path', 'elsewhere', false)",
        "SELECT set_config('statement_timeout', '1', true)",
        "COMMIT; SET TimeZone = 'Asia/Tokyo'; SET default_transaction_isolation = 'serializable'",
    ],
)
async def test_no_setting_reaches_the_next_report(sources: SourceSessions, change: str) -> None:
    show = "SELECT string_agg(name || '=' || setting, ' ') FROM pg_settings"
    before = await ask(sources, show)
    async with sources.open("orders", statement_limit=LIMIT) as session:
        await session.connection.execute(change)
    assert await ask(sources, show) == before


@WAYS
async def test_no_lock_is_kept_for_the_next_report(
    sources: SourceSessions, admin: asyncpg.Connection, way: Way
) -> None:
    await way(sources)
    await way(sources, "SELECT pg_advisory_lock(7)")
    held = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert await admin.fetchval(held) == 0
    assert await ask(sources) == await ask(sources)


async def test_a_copy_runs_in_a_transaction_like_any_other(sources: SourceSessions) -> None:
    settings = ("transaction_isolation", "transaction_read_only", "statement_timeout", "TimeZone")
    sql = f"SELECT {', '.join(f'current_setting($${name}$$)' for name in settings)}"
    for _ in range(2):  # of a new connection, and of one that has just been used
        answer = await ask_by_copy(sources, sql)
        assert answer.split("\t") == ["repeatable read", "on", "1min", "UTC"]
    changed = await ask_by_copy(sources, "SELECT set_config('TimeZone', 'Asia/Tokyo', false)")
    assert changed == "Asia/Tokyo"
    assert await ask_by_copy(sources, "SELECT current_setting('TimeZone')") == "UTC"


async def test_each_report_has_its_own_read_only_snapshot_and_time_limit(
    sources: SourceSessions, admin: asyncpg.Connection
) -> None:
    await admin.execute("CREATE TABLE shop.t (n int); GRANT ALL ON shop.t TO report_source")
    count = "SELECT count(*) FROM shop.t"
    async with sources.open("orders", statement_limit=2.5) as session:
        assert await session.connection.fetchval("SHOW statement_timeout") == "2500ms"
        assert await session.connection.fetchval(count) == 0
        await admin.execute("INSERT INTO shop.t VALUES (1)")
        assert await session.connection.fetchval(count) == 0
    assert await ask(sources, count) == 1
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await ask(sources, "DELETE FROM shop.t RETURNING n")
    assert await ask(sources, "SHOW statement_timeout") == "1min"


@WAYS
async def test_a_connection_is_dropped_after_an_error(
    sources: SourceSessions, admin: asyncpg.Connection, way: Way
) -> None:
    pid = await ask(sources)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await way(sources, "SELECT 1/0")
    assert await ask(sources) != pid
    await until_gone(admin, pid)


async def test_a_connection_that_nobody_uses_is_closed(
    database: DatabaseUrls, admin: asyncpg.Connection
) -> None:
    sessions = SourceSessions({"orders": database.report_source}, idle_limit=0.05)
    await until_gone(admin, await ask(sessions))
    await ask(sessions)
    await sessions.close()


async def test_an_old_connection_is_replaced(database: DatabaseUrls) -> None:
    sessions = SourceSessions({"orders": database.report_source}, age_limit=0)
    assert await ask(sessions) != await ask(sessions)
    await sessions.close()


@WAYS
@pytest.mark.parametrize("is_noticed_before", [True, False])
async def test_a_connection_that_died_while_it_was_idle_costs_no_report(
    sources: SourceSessions, admin: asyncpg.Connection, way: Way, *, is_noticed_before: bool
) -> None:
    pid = await ask(sources)
    await admin.execute("SELECT pg_terminate_backend($1)", pid)
    if is_noticed_before:
        await until_gone(admin, pid)
        await asyncio.sleep(0)
    assert int(await way(sources)) != pid


async def test_a_source_that_has_something_to_say_costs_no_row(
    sources: SourceSessions, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "CREATE FUNCTION shop.chatty(n int) RETURNS int LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE WARNING 'row %', n; RETURN n; END $$"
    )
    rows = await ask_by_copy(sources, "SELECT shop.chatty(n) FROM generate_series(1, 500) AS n")
    assert rows.split() == [str(n) for n in range(1, 501)]


@pytest.mark.parametrize(
    "said", ["RAISE INFO 'row %', n", "SET client_min_messages = notice; RAISE NOTICE '%', n"]
)
async def test_a_report_in_whose_midst_a_source_speaks_all_the_same_fails(
    make: Make, sources: SourceSessions, admin: asyncpg.Connection, artifacts: Path, said: str
) -> None:
    await admin.execute(
        "CREATE FUNCTION shop.loud(n int) RETURNS int LANGUAGE plpgsql AS"
        f" $$ BEGIN {said}; RETURN n; END $$"
    )
    kind = report_type(
        "SELECT shop.loud(n) AS n FROM generate_series(1, 500) AS n", {"n": "integer"}
    )
    with pytest.raises(ReportError, match="such as RAISE INFO") as failure:
        await make(kind)
    assert not failure.value.transient
    await ask_by_copy(sources)  # so that the next begins with its COPY
    with pytest.raises(ReportError, match="such as RAISE INFO"):
        await ask_by_copy(sources, "SELECT shop.loud(n) FROM generate_series(1, 500) AS n")
    assert files_in(artifacts) == []


async def test_a_report_in_whose_midst_a_source_speaks_does_not_wait_for_its_other_rows(
    sources: SourceSessions, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "CREATE FUNCTION shop.loud_once(n bigint) RETURNS bigint LANGUAGE plpgsql AS"
        " $$ BEGIN IF n = 1 THEN RAISE INFO 'row %', n; END IF; RETURN n; END $$"
    )
    rows = "SELECT shop.loud_once(generate_series(1, 1000000000000))"  # not FROM: one by one
    with pytest.raises(ReportError, match="such as RAISE INFO"):
        await ask_by_copy(sources, rows)


@pytest.mark.parametrize(("trust", "tried"), [(60.0, []), (0.0, ["BEGIN"])])
async def test_a_connection_that_has_been_quiet_for_long_is_tried_first(
    database: DatabaseUrls, monkeypatch: pytest.MonkeyPatch, trust: float, tried: list[str]
) -> None:
    sessions = SourceSessions({"orders": database.report_source}, trust=trust)
    await ask(sessions)
    executed: list[str] = []
    execute = asyncpg.Connection.execute

    async def noted(connection: asyncpg.Connection, query: str, **named: Any) -> str:
        executed.append(query.split(maxsplit=1)[0])
        return await execute(connection, query, **named)

    with monkeypatch.context() as patches:
        patches.setattr(asyncpg.Connection, "execute", noted)
        await ask_by_copy(sessions)
    assert executed == tried
    await sessions.close()


async def test_a_copy_that_loses_its_connection_half_way_is_not_begun_again(
    sources: SourceSessions, admin: asyncpg.Connection
) -> None:
    pid = await ask(sources)
    first_rows: list[bytes] = []

    async def kill_at_first(piece: bytes) -> None:
        if piece.startswith(b"1\t"):
            first_rows.append(piece)
            await admin.execute("SELECT pg_terminate_backend($1)", pid)

    async def export() -> None:
        async with sources.prepare("orders", statement_limit=LIMIT) as session:
            await session.copy(
                "COPY (SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) AS n) TO STDOUT",
                kill_at_first,
            )

    with pytest.raises(SOURCE_ERRORS):
        await export()
    assert len(first_rows) == 1
    assert await ask(sources) != pid


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_dies_in_a_session_is_a_failure_of_the_source(
    sources: SourceSessions, admin: asyncpg.Connection, turns: int
) -> None:
    async def die_and_go_on() -> None:
        async with sources.open("orders", statement_limit=LIMIT) as session:
            pid = session.connection.get_server_pid()
            await admin.execute("SELECT pg_terminate_backend($1)", pid)
            # The driver has other errors before and after it has read the server's last word.
            for _ in range(turns):
                await asyncio.sleep(0)
            await session.connection.prepare("SELECT 1")

    with pytest.raises(SOURCE_ERRORS):
        await die_and_go_on()


@contextmanager
def exception_handler_of_a_child() -> Iterator[None]:
    """Handle what nobody awaits as the loop of a child does."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(pass_over_abandoned_copies)
    try:
        yield
    finally:
        loop.set_exception_handler(before)


def forget_what_others_left(caplog: pytest.LogCaptureFixture) -> None:
    """Let earlier tests' tasks and futures say now what they say when they are collected."""
    gc.collect()
    caplog.clear()


async def test_what_else_nobody_awaits_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(error: Exception) -> None:
        raise error

    forget_what_others_left(caplog)
    with exception_handler_of_a_child():
        for failed in (
            asyncio.create_task(fail(asyncpg.ConnectionDoesNotExistError("lost"))),
            asyncio.create_task(fail(OSError("broken"))),
        ):
            await asyncio.wait([failed])
        del failed
        asyncio.get_running_loop().create_future().set_exception(OSError("broken"))
        gc.collect()
    assert len(caplog.messages) == 3


@WAYS
async def test_a_server_that_says_goodbye_on_an_idle_connection_costs_no_report(
    database: DatabaseUrls, admin: asyncpg.Connection, caplog: pytest.LogCaptureFixture, way: Way
) -> None:
    relay = Relay(database.report_source)
    forget_what_others_left(caplog)
    with exception_handler_of_a_child():
        async with relay.listening() as url:
            sessions = SourceSessions({"orders": url})
            before = await ask(sessions)
            relay.say(GOODBYE)
            await admin.fetchval("SELECT 1")  # takes many turns of the loop, and it is read in one
            assert int(await way(sessions)) != before
            await sessions.close()
        gc.collect()
    assert caplog.messages == []


@WAYS
async def test_a_restarted_server_costs_no_report(
    local_postgres: LocalPostgres, sources_of_local: SourceSessions, way: Way
) -> None:
    before = await ask(sources_of_local)
    await local_postgres.restart()
    assert int(await way(sources_of_local)) != before


@pytest.fixture
async def sources_of_local(local_postgres: LocalPostgres) -> AsyncIterator[SourceSessions]:
    async with local_postgres.create_database() as database:
        sessions = SourceSessions({"orders": database.report_source})
        yield sessions
        await sessions.close()


async def test_columns_are_checked_again_on_a_new_connection(
    make: Make, admin: asyncpg.Connection
) -> None:
    await admin.execute("CREATE TABLE shop.t (n int); GRANT ALL ON shop.t TO report_source")
    kind = report_type("SELECT n FROM shop.t", {"n": "integer"})
    await make(kind)
    await admin.execute(
        "ALTER TABLE shop.t ALTER n TYPE float8;"
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'report_source'"
        " AND datname = current_database()"
    )
    with pytest.raises(ReportError, match="declared integer, and the query gives float8"):
        await make(kind)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
BIGINT = st.integers(-(2**63), 2**63 - 1)
NUMERIC = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20)
SCALARS = {
    SqlType.TEXT: st.one_of(TEXT, st.text("'\\\"$E;-\n", max_size=9)),
    SqlType.BIGINT: BIGINT,
    SqlType.NUMERIC: NUMERIC,
    SqlType.BOOLEAN: st.booleans(),
    SqlType.DATE: st.dates(min_value=date(1, 1, 1)),
}
BINDINGS = st.sampled_from(list(SCALARS)).flatmap(
    lambda kind: st.one_of(
        st.builds(Binding, st.none() | SCALARS[kind], st.just(kind)),
        st.builds(
            Binding,
            st.lists(st.none() | SCALARS[kind], max_size=4),
            st.just(kind),
            st.just(value=True),
        ),
    )
)


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(bindings=st.lists(BINDINGS, min_size=1, max_size=10))
async def test_a_literal_is_the_value_that_a_bound_parameter_would_be(
    admin: asyncpg.Connection, bindings: list[Binding]
) -> None:
    for setting in ("on", "off"):
        await admin.execute(f"SET standard_conforming_strings = {setting}")
        (written,) = await admin.fetch(f"SELECT {', '.join(map(literal, bindings))}")
        places = [f"${place}::{one.type_name}" for place, one in enumerate(bindings, 1)]
        values = [binding.value for binding in bindings]
        (bound,) = await admin.fetch(f"SELECT {', '.join(places)}", *values)
        assert repr([*written]) == repr([*bound])
