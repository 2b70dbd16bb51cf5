"""`catalogue check --source`: queries prepared against real databases, several of them by name."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import asyncpg
import pytest

from local_stack.paths import CATALOGUE
from local_stack.source_data import create_tables
from report_worker.check import command
from tests.support.report_worker import WorkerBench, eventually
from tests.support.servers import DatabaseUrls, Postgres


@pytest.fixture
async def other_database(postgres: Postgres) -> AsyncIterator[DatabaseUrls]:
    async with postgres.create_database() as urls:
        connection = await asyncpg.connect(urls.admin)
        await connection.execute(
            "CREATE SCHEMA hr; CREATE TABLE hr.staff (name text, since date, pay float8);"
            "GRANT USAGE ON SCHEMA hr TO report_source;"
            "GRANT SELECT ON hr.staff TO report_source"
        )
        await connection.close()
        yield urls


async def check(folder: Path, **sources: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    named = [part for name, url in sources.items() for part in ("--source", f"{name}={url}")]
    arguments = parser.parse_args(["check", str(folder), *named])
    return await asyncio.to_thread(command.run, arguments)


def write(folder: Path, name: str, sql: str, *, source: str, type_: str) -> Path:
    file = folder / f"{name.lower()}.yaml"
    lines = "\n".join(f"  {line}" for line in dedent(sql).strip().splitlines())
    file.write_text(
        f"name: {name}\ntitle: {name.title()}\nsource: {source}\nsql: |\n{lines}\n"
        f"columns:\n  - {{name: it, title: It, type: {type_}}}\n"
    )
    return file


async def test_the_shipped_queries_fit_the_shipped_schema(
    database: DatabaseUrls, capsys: pytest.CaptureFixture[str]
) -> None:
    await create_tables(database.admin)
    assert await check(CATALOGUE, orders=database.report_source) == 0
    assert capsys.readouterr().err == "report-worker: 4 report types, no mistake\n"


async def test_each_query_is_held_against_its_own_source(
    database: DatabaseUrls,
    other_database: DatabaseUrls,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await create_tables(database.admin)
    staff = """
        SELECT pay AS it
        FROM hr.staff
        WHERE since BETWEEN :from_date AND :to_date
    """
    write(tmp_path, "ORDERS", "SELECT order_id AS it FROM shop.orders", source="o", type_="text")
    write(tmp_path, "STAFF", staff.replace("pay", "name"), source="hr", type_="text")
    sources = {"o": database.report_source, "hr": other_database.report_source}
    assert await check(tmp_path, **sources) == 0

    orders = write(tmp_path, "ORDERS", "SELECT 1 AS it\nFROM\nhr.staff", source="o", type_="text")
    paid = write(tmp_path, "STAFF", staff, source="hr", type_="decimal")
    capsys.readouterr()
    assert await check(tmp_path, **sources) == 1
    assert capsys.readouterr().out.splitlines() == [
        f'{orders}:7: sql: relation "hr.staff" does not exist',
        f"{paid}:9: columns.0: column it is declared decimal, and the query gives float8",
    ]


async def test_a_source_that_refuses_its_password_is_no_mistake_of_the_files(
    database: DatabaseUrls, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{database.report_source.rpartition('/')[0]}/no_such_database"
    assert await check(CATALOGUE, orders=url) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "source orders: InvalidCatalogNameError" in shown.err


async def test_a_worker_without_a_source_that_a_report_type_reads_names_the_file(
    bench: WorkerBench, tmp_path: Path
) -> None:
    worker = await bench.start_worker(sources="{}")
    file = tmp_path / "catalogue" / "away.yaml"
    reason = "source: REPORT_WORKER_SOURCES names no source 'away'"
    await eventually(lambda: f"{file}:" in worker.log and reason in worker.log)
