"""What a borrowed connection raises that is lost in the borrower's hands."""

import asyncio

import pytest
import uvloop
from pydantic import PostgresDsn

from shared.database.pool import TRANSIENT_ERRORS, Database, open_database
from shared.settings import DatabaseSettings

NOWHERE = DatabaseSettings(
    database_url=PostgresDsn("postgresql://nobody@127.0.0.1:1/none"),
    database_connect_timeout=1.0,
    database_command_timeout=1.0,
)


class LendsAnything:
    """A pool whose connections are nothing."""

    def acquire(self, *, timeout: float) -> "LendsAnything":
        assert timeout == NOWHERE.database_connect_timeout
        return self

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


async def write_to_a_closed_transport() -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as any_:
        host, port = any_.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(host, port)
        writer.transport.abort()
        await writer.wait_closed()
        writer.write(b"too late")


def test_writing_in_the_moment_of_a_connections_end_is_a_passing_error() -> None:
    async def borrow() -> None:
        async with Database(LendsAnything(), NOWHERE).connection():  # type: ignore[arg-type]
            await write_to_a_closed_transport()

    with pytest.raises(TRANSIENT_ERRORS):
        uvloop.run(borrow())


async def test_a_defect_of_the_borrower_stays_what_it_is() -> None:
    database = Database(LendsAnything(), NOWHERE)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="a defect"):
        async with database.connection():
            raise RuntimeError("a defect")


async def test_a_pool_opens_while_its_database_is_away() -> None:
    async with open_database(NOWHERE, schema="none", service="test") as database:
        with pytest.raises(OSError):  # noqa: PT011 - whatever the system says of it
            await database.ping()
