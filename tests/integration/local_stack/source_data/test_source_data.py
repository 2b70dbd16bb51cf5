"""Filling the demo's data source on a real PostgreSQL."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from local_stack.errors import SetupError
from local_stack.source_data import DataFileError, Generated, Loaded, generate, load_orders
from tests.support.servers import DatabaseUrls

HEADER = "order_id,customer_id,created_at,amount"


@pytest.fixture
async def reader(database: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    """The role that reports read as."""
    connection = await asyncpg.connect(database.report_source)
    yield connection
    await connection.close()


async def orders(connection: asyncpg.Connection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await connection.fetch("SELECT * FROM shop.orders ORDER BY 1")]


async def test_generated_data_follow_from_the_seed_and_grow_without_changing(
    database: DatabaseUrls, reader: asyncpg.Connection
) -> None:
    assert await generate(database.admin, orders=300) == Generated(customers=5000, orders=300)
    first = await orders(reader)
    await generate(database.admin, orders=300)
    assert await orders(reader) == first
    await generate(database.admin, orders=500)
    assert (await orders(reader))[:300] == first
    assert len(await orders(reader)) == 500


async def test_generated_data_are_varied(
    database: DatabaseUrls, reader: asyncpg.Connection
) -> None:
    await generate(database.admin, orders=5000)
    row = await reader.fetchrow(
        """SELECT count(DISTINCT status) AS statuses, count(DISTINCT currency) AS currencies,
                  count(DISTINCT channel) AS channels, count(DISTINCT region) AS regions,
                  count(DISTINCT note) AS notes, min(amount) AS least,
                  max(scale(amount)) AS decimals, count(c.name) AS named,
                  min(o.created_at)::date::text AS first, max(o.created_at)::date::text AS last
           FROM shop.orders AS o LEFT JOIN shop.customers AS c USING (customer_id)"""
    )
    assert row is not None
    assert (row["statuses"], row["currencies"], row["channels"], row["regions"]) == (6, 4, 4, 3)
    assert row["notes"] == 12
    assert row["least"] > 0
    assert row["decimals"] == 2
    assert row["named"] == 5000
    assert (row["first"][:7], row["last"][:7]) == ("2023-01", "2025-12")


async def test_a_file_is_loaded_exactly(
    database: DatabaseUrls, reader: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(
        b"\xef\xbb\xbfnote,amount,created_at,customer_id,order_id,currency\r\n"
        b'"=a, ""b""\r\nc",0.10,2024-01-01T00:00:00+02:00,K1,B,EUR\r\n'
        b",-1234567890123.45,2024-01-02,K2,A,\r\n"
    )
    assert await load_orders(file, database.admin) == Loaded(added=2, replaced=0)
    first, second = await orders(reader)
    assert first[:2] == ("A", "K2")
    assert first[3:] == (Decimal("-1234567890123.45"), None, None, None, None, None)
    assert second[3:] == (Decimal("0.10"), None, "EUR", None, None, '=a, "b"\r\nc')
    assert str(second[2]) == "2023-12-31 22:00:00+00:00"


async def test_an_order_that_is_there_already_is_replaced(
    database: DatabaseUrls, reader: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(f"{HEADER}\nA,K,2024-01-01,1\n")
    await load_orders(file, database.admin)
    file.write_text(f"{HEADER}\nA,K,2024-01-01,2\nB,K,2024-01-01,3\n")
    loaded = await load_orders(file, database.admin)
    assert (loaded, loaded.rows) == (Loaded(added=1, replaced=1), 2)
    assert [row[3] for row in await orders(reader)] == [2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; its first line has to name the columns"),
        (f"{HEADER},colour\n", r"line 1: column 5 \(colour\) is not known"),
        (f"{HEADER}\nA,K,2024-01-01\n", "line 2: has 3 cells, the header 4"),
        (f"{HEADER}\nA,K,2024-01-01,1\nB,K,soon,1\n", r"line 3: column 3 \(created_at\): 'soon'"),
        (f"{HEADER}\nA,K,2024-01-01,1\nB,K,2024-01-01,x\n", r"line 3: column 4 \(amount\): 'x'"),
        (
            f"{HEADER}\nA,K,2024-01-01,1\nB,K,2024-01-01,1\nA,K,2024-01-01,1\n",
            "line 4: order_id 'A' is on line 2 already",
        ),
        (f"{HEADER}\nA,K,2024-01-01,1\nB,K,2024-01-01,\x00\n", "line 3: byte 16 is NUL"),
    ],
)
async def test_nothing_of_a_bad_file_is_loaded(
    database: DatabaseUrls, reader: asyncpg.Connection, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(f"{HEADER}\nOLD,K,2024-01-01,1\n")
    await load_orders(file, database.admin)
    file.write_text(content)
    with pytest.raises(DataFileError, match=message):
        await load_orders(file, database.admin)
    assert [row[0] for row in await orders(reader)] == ["OLD"]


async def test_a_large_file_is_loaded_whole(
    database: DatabaseUrls, reader: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    lines = (f"{number},K,2024-01-01T00:00:00Z,0.01\n" for number in range(30_000))
    file.write_text(f"{HEADER}\n{''.join(lines)}")
    assert (await load_orders(file, database.admin)).rows == 30_000
    assert await reader.fetchval("SELECT sum(amount) FROM shop.orders") == Decimal("300.00")


async def test_reports_can_only_read(database: DatabaseUrls, reader: asyncpg.Connection) -> None:
    await generate(database.admin, orders=1)
    with pytest.raises(asyncpg.PostgresError):
        await reader.execute("DELETE FROM shop.orders")


async def test_a_database_that_is_away_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="doesn't take connections"):
        await generate("postgres://nobody@127.0.0.1:1/nowhere", orders=1)
