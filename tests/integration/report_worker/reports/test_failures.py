"""What fails while a report is made: judged, said without secrets, and nothing left behind."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from obstore.store import S3Store

from report_worker.reports import (
    ErrorCode,
    ProgressReporter,
    ReportError,
    SourceSessions,
    TimeLimits,
    generate,
    open_store,
)
from shared.catalogue import ReportType
from shared.report_request import ReportFormat
from tests.integration.report_worker.reports.conftest import (
    PATH,
    Make,
    files_in,
    report_spec,
    report_type,
)
from tests.support.relay import Relay
from tests.support.servers import DatabaseUrls

ENDLESS = report_type(
    "SELECT i AS n, repeat('x', 1000) AS t FROM generate_series(1, 100000000) AS i",
    {"n": "integer", "t": "text"},
)
SIMPLE = report_type("SELECT 1 AS n", {"n": "integer"})


async def failure(making: Awaitable[Any]) -> ReportError:
    with pytest.raises(ReportError) as failed:
        await making
    return failed.value


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - another process has to get there
            await asyncio.sleep(0.02)


def running(admin: asyncpg.Connection) -> Callable[[], Awaitable[bool]]:
    async def is_copying() -> bool:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'"
        return bool(await admin.fetchval(f"{sql} AND datname = current_database()"))

    return is_copying


@pytest.mark.parametrize(
    "dsn",
    [
        "postgres://report_source:hunter2@127.0.0.1:1/nowhere",
        "postgres://report_source:hunter2@no-such-host.invalid/nowhere",
    ],
)
async def test_a_source_that_is_down_is_transient(artifacts: Path, dsn: str) -> None:
    store = open_store(artifacts.as_uri())
    error = await failure(
        generate(
            report_spec(SIMPLE),
            sources=SourceSessions({"orders": dsn}),
            store=store,
            path=PATH,
            progress=ProgressReporter(),
        )
    )
    assert error.transient
    assert error.message == "Downstream data source unavailable."
    assert files_in(artifacts) == []


@pytest.mark.parametrize("file_format", list(ReportFormat))
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT n FROM shop.no_such_table",
        "SELECT 1/0 AS n",
        "SELECT 1 AS n FORM x",
        "WITH made AS (INSERT INTO shop.t VALUES (1) RETURNING 1 AS n) SELECT n FROM made",
    ],
)
async def test_a_wrong_query_is_permanent_and_stays_secret(
    make: Make, artifacts: Path, admin: asyncpg.Connection, sql: str, file_format: str
) -> None:
    await admin.execute("CREATE TABLE shop.t (n int); GRANT ALL ON shop.t TO report_source")
    error = await failure(make(report_type(sql, {"n": "integer"}), file_format))
    assert (error.code, error.transient) == (ErrorCode.GENERATION_FAILED, False)
    assert not {"SELECT", "shop", "postgres"} & set(error.message.replace(".", " ").split())
    assert await admin.fetchval("SELECT count(*) FROM shop.t") == 0
    assert files_in(artifacts) == []


@pytest.mark.parametrize(
    ("sql", "kind", "reason"),
    [
        ("SELECT 1 AS m", "integer", "the query has no column n"),
        ("SELECT 0.1::float8 AS n", "decimal", "declared decimal, and the query gives float8"),
        ("SELECT 'x' AS n", "integer", "declared integer, and the query gives text"),
        ("SELECT now() AS n", "date", "declared date, and the query gives timestamptz"),
    ],
)
async def test_columns_that_are_not_as_declared_are_named(
    make: Make, sql: str, kind: str, reason: str
) -> None:
    error = await failure(make(report_type(sql, {"n": kind})))
    assert not error.transient
    assert reason in error.message


@pytest.mark.parametrize("file_format", list(ReportFormat))
async def test_a_query_past_its_time_limit_is_permanent(
    make: Make, artifacts: Path, file_format: str
) -> None:
    slow = report_type(
        "SELECT pg_sleep(30)::text AS t", {"t": "text"}, limits={"statement_timeout": 1}
    )
    error = await failure(make(slow, file_format))
    assert (error.code, error.transient) == (ErrorCode.TIMED_OUT, False)
    assert "1 seconds" not in error.message
    assert files_in(artifacts) == []


@pytest.mark.parametrize("file_format", ["CSV", "XLSX", "PDF"])
async def test_the_time_limit_of_a_query_is_the_same_for_a_source_that_is_far_away(
    database: DatabaseUrls, artifacts: Path, file_format: str
) -> None:
    slow = report_type(
        "SELECT pg_sleep(30)::text AS t", {"t": "text"}, limits={"statement_timeout": 1}
    )
    async with Relay(database.report_source, delay=0.1).listening() as dsn:
        error = await failure(
            generate(
                report_spec(slow, file_format),
                sources=SourceSessions({"orders": dsn}),
                store=open_store(artifacts.as_uri()),
                path=PATH,
                progress=ProgressReporter(),
            )
        )
    assert (error.code, error.transient) == (ErrorCode.TIMED_OUT, False)


async def test_a_connection_lost_midway_is_transient_and_leaves_no_object(
    make: Make, artifacts: Path, admin: asyncpg.Connection
) -> None:
    making = asyncio.ensure_future(make(ENDLESS))
    await until(running(admin))
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'"
        " AND datname = current_database()"
    )
    assert (await failure(making)).transient
    assert files_in(artifacts) == []


@pytest.mark.parametrize(
    "kind", [ENDLESS, report_type("SELECT pg_sleep(60)::text AS t", {"t": "text"})]
)
async def test_cancelling_ends_the_query_and_leaves_no_object(
    make: Make, artifacts: Path, admin: asyncpg.Connection, kind: Any
) -> None:
    making = asyncio.ensure_future(make(kind))
    is_running = running(admin)
    await until(is_running)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making

    async def has_ended() -> bool:
        return not await is_running()

    await until(has_ended)
    assert files_in(artifacts) == []


@pytest.mark.parametrize("file_format", list(ReportFormat))
async def test_a_folder_that_cannot_be_written_to_is_transient(
    make: Make, blocked_artifacts: Path, file_format: str
) -> None:
    error = await failure(make(SIMPLE, file_format))
    assert (error.code, error.transient) == (ErrorCode.GENERATION_FAILED, True)
    assert error.message.startswith("The report's file could not be stored: the artifact store ")


@pytest.mark.parametrize("kind", [SIMPLE, ENDLESS])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", b""])
async def test_an_object_store_that_refuses_or_is_silent_is_transient(
    sources: SourceSessions, answer: bytes, kind: ReportType
) -> None:
    async with http_server(answer) as endpoint:
        store = S3Store(
            "artifacts",
            endpoint=endpoint,
            access_key_id="test",
            secret_access_key="test",
            region="eu-west-1",
            client_options={"allow_http": True},
        )
        error = await failure(
            generate(
                report_spec(kind),
                sources=sources,
                store=store,
                path=PATH,
                progress=ProgressReporter(),
                time_limits=TimeLimits(store=0.5),
            )
        )
    assert error.transient
    assert error.message.startswith("The report's file could not be stored: the artifact store ")


@asynccontextmanager
async def http_server(answer: bytes) -> AsyncIterator[str]:
    """Answer each request alike; not at all where there is no answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        server.close()
