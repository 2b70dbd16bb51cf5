"""CSV and JSON from a real PostgreSQL: exact, one snapshot, nothing injected."""

import csv
import hashlib
import io
import json
import random
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from tests.integration.report_worker.reports.conftest import Made, Make, report_type

ALL_TYPES = """
SELECT * FROM (VALUES
    (1, 'plain', 9007199254740993::bigint, 12345678901234567890.123456789::numeric,
     date '2024-02-29', timestamptz '2024-01-01 01:30:00.123456+02', true),
    (2, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, '', -1, 0.10, date '0001-01-01', 'infinity', false)
) AS rows (id, name, big, amount, day, at, flag)
ORDER BY id;
"""
COLUMNS: dict[str, Any] = {
    "id": "integer", "name": "text", "big": "integer", "amount": "decimal", "day": "date",
    "at": "timestamp", "flag": "boolean",
}  # fmt: skip


def cells(made: Made) -> list[list[str]]:
    text = made.content.decode()
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


async def test_csv_writes_each_type_exactly(make: Make) -> None:
    made = await make(report_type(ALL_TYPES, COLUMNS))
    assert made.content.decode() == (
        "id,name,big,amount,day,at,flag\r\n"
        "1,plain,9007199254740993,12345678901234567890.123456789,2024-02-29,"
        "2023-12-31 23:30:00.123456+00,true\r\n"
        "2,,,,,,\r\n"
        '3,"",-1,0.10,0001-01-01,infinity,false\r\n'
    )


async def test_every_time_stands_in_csv_as_the_source_writes_it_in_utc(make: Make) -> None:
    times = [
        "2024-01-01 00:00:00+00", "2024-01-01 00:00:00.5+00", "1999-12-31 23:59:59.999999+00",
        "0001-01-01 00:00:00+00", "0044-03-15 12:00:00+00 BC", "12024-01-01 00:00:01+00",
        "infinity", "-infinity",
    ]  # fmt: skip
    values = ", ".join(f"({n}, timestamptz '{time}')" for n, time in enumerate(times))
    sql = f"SELECT at FROM (VALUES {values}) AS times (n, at) ORDER BY n"  # noqa: S608 - a test's
    kind = report_type(sql, {"at": "timestamp"})
    assert cells(await make(kind)) == [["at"], *([time] for time in times)]
    objects = json.loads((await make(kind, "JSON")).content)
    assert objects[1]["at"] == "2024-01-01T00:00:00.5+00:00"
    without_zone = report_type("SELECT timestamp '2024-01-01 01:30:00' AS at", {"at": "timestamp"})
    assert cells(await make(without_zone))[1] == ["2024-01-01 01:30:00+00"]


async def test_json_has_typed_values_with_all_their_digits(make: Make) -> None:
    made = await make(report_type(ALL_TYPES, COLUMNS), "JSON")
    first, second, third = json.loads(made.content, parse_float=Decimal)
    assert first == {
        "id": 1,
        "name": "plain",
        "big": 9007199254740993,
        "amount": Decimal("12345678901234567890.123456789"),
        "day": "2024-02-29",
        "at": "2023-12-31T23:30:00.123456+00:00",
        "flag": True,
    }
    assert set(second.values()) == {2, None}
    assert b'"amount":0.10' in made.content
    assert third["name"] == ""


async def test_the_result_describes_the_file(make: Make) -> None:
    made = await make(report_type(ALL_TYPES, COLUMNS))
    assert made.report.rows == 3
    assert made.report.bytes == len(made.content)
    assert made.report.sha256 == hashlib.sha256(made.content).hexdigest()
    assert made.report.media_type.startswith("text/csv")
    assert made.report.file_name == "report"


async def test_a_scale_is_applied_in_both_formats(make: Make) -> None:
    kind = report_type("SELECT 10.005::numeric AS a", {"a": {"type": "decimal", "scale": 2}})
    assert cells(await make(kind)) == [["a"], ["10.01"]]
    assert json.loads((await make(kind, "JSON")).content) == [{"a": 10.01}]


@pytest.mark.parametrize(("file_format", "expected"), [("CSV", b"a,b\r\n"), ("JSON", b"[]\n")])
async def test_no_rows_are_a_valid_report(make: Make, file_format: str, expected: bytes) -> None:
    kind = report_type("SELECT 1 AS a, 'x' AS b WHERE false", {"a": "integer", "b": "text"})
    made = await make(kind, file_format)
    assert (made.content, made.report.rows) == (expected, 0)


async def test_formulas_are_defused_in_csv_text_alone(make: Make) -> None:
    sql = r"""SELECT * FROM (VALUES (1, '=1+1'), (2, '+1'), (3, '-1'), (4, '@x'), (5, E'\tx'),
        (6, E'\rx'), (7, 'a=1'), (8, ''), (9, NULL)) AS rows (n, t) ORDER BY n"""
    kind = report_type(sql, {"n": "integer", "t": "text"})
    texts = ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "a=1", "", ""]
    assert [row[1] for row in cells(await make(kind))[1:]] == texts
    assert json.loads((await make(kind, "JSON")).content)[0]["t"] == "=1+1"
    trusting = report_type(sql, {"n": "integer", "t": "text"}, defuse_formulas=False)
    assert cells(await make(trusting))[1][1] == "=1+1"
    negative = report_type(
        "SELECT -5 AS n, '-5' AS t, -0.5::numeric AS d, '-infinity'::timestamptz AS at",
        {"n": "integer", "t": "text", "d": "decimal", "at": "timestamp"},
    )
    assert cells(await make(negative))[1] == ["-5", "'-5", "-0.5", "-infinity"]


async def test_any_text_and_number_reads_back_from_both_formats(
    make: Make, admin: asyncpg.Connection
) -> None:
    """Thousands of rows of what breaks careless exports, over many batches."""
    chosen = random.Random(20240101)
    alphabet = [*'"",,\r\n\\=+-@\t', "'", "\x01", "\x02", "\x7f", "é", "漢", "😀", " ", "x"]
    rows = [
        (
            number,
            "".join(chosen.choices(alphabet, k=chosen.randrange(300))),
            Decimal(chosen.randrange(-(10**20), 10**20)).scaleb(-chosen.randrange(12)),
        )
        for number in range(12_000)
    ]
    await admin.execute("CREATE TABLE shop.nasty (id int PRIMARY KEY, t text, d numeric)")
    await admin.execute("GRANT SELECT ON shop.nasty TO report_source")
    await admin.copy_records_to_table("nasty", schema_name="shop", records=rows)
    kind = report_type(
        "SELECT id, t, d FROM shop.nasty ORDER BY id",
        {"id": "integer", "t": "text", "d": "decimal"},
    )
    table = [(int(i), text, Decimal(number)) for i, text, number in cells(await make(kind))[1:]]
    assert table == [
        (i, f"'{text}" if text[:1] in set("=+-@\t\r") else text, number) for i, text, number in rows
    ]
    objects = json.loads((await make(kind, "JSON")).content, parse_float=Decimal)
    assert [(one["id"], one["t"], Decimal(one["d"])) for one in objects] == rows


HOSTILE = [
    "'; DROP TABLE shop.victims; --",
    "' OR '1'='1",
    "\\' OR 1=1 --",
    "$1",
    "$$; DROP TABLE shop.victims; $$",
    ":from_date",
    "%s {0}",
    "');\n/*",
    "x'::text) OR (true",
    "\u02bc OR 1=1",
]


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_hostile_parameter_is_only_ever_a_value(
    make: Make, admin: asyncpg.Connection, value: str
) -> None:
    await admin.execute("CREATE TABLE shop.victims (name text)")
    await admin.execute("GRANT SELECT ON shop.victims TO report_source")
    await admin.executemany("INSERT INTO shop.victims VALUES ($1)", [("innocent",), (value,)])
    kind = report_type(
        "SELECT name FROM shop.victims WHERE name = :name OR name = ANY (:names) -- $1 :other",
        {"name": "text"},
        defuse_formulas=False,
        parameters={
            "properties": {
                "name": {"type": "string"},
                "names": {"type": "array", "items": {"type": "string"}},
            }
        },
    )
    assert cells(await make(kind, "CSV", name=value)) == [["name"], [value]]
    assert json.loads((await make(kind, "JSON", names=[value])).content) == [{"name": value}]
    assert await admin.fetchval("SELECT count(*) FROM shop.victims") == 2


async def test_what_looks_like_a_parameter_in_a_literal_stays(make: Make) -> None:
    sql = "SELECT '$1 :from_date $2' AS a, $x$:to_date$x$ AS b, :from_date AS c /* :nope */;"
    made = await make(report_type(sql, {"a": "text", "b": "text", "c": "date"}))
    assert cells(made)[1] == ["$1 :from_date $2", ":to_date", "2024-01-01"]


async def test_parameters_arrive_with_their_types(make: Make) -> None:
    properties = {
        "day": {"type": "string", "format": "date"},
        "top": {"type": "integer"},
        "least": {"type": "number"},
        "paid": {"type": "boolean"},
        "nothing": {"type": "string"},
    }
    sql = """SELECT pg_typeof(:day) || ' ' || pg_typeof(:top) || ' ' || pg_typeof(:least) || ' '
        || pg_typeof(:paid) || ' ' || (:nothing IS NULL) AS t, :least AS d"""
    kind = report_type(sql, {"t": "text", "d": "decimal"}, parameters={"properties": properties})
    made = await make(kind, day="2024-05-01", top=7, least=10.1, paid=True)
    assert cells(made)[1] == ["date bigint numeric boolean true", "10.1"]


async def test_the_sessions_settings_do_not_depend_on_the_role(
    make: Make, admin: asyncpg.Connection
) -> None:
    database = await admin.fetchval("SELECT current_database()")
    for setting in ("TimeZone = 'Asia/Tokyo'", "DateStyle = 'SQL, DMY'"):
        await admin.execute(f"ALTER ROLE report_source IN DATABASE {database} SET {setting}")
    sql = "SELECT :from_date AS day, :from_date::timestamptz AS at, now()::text AS t"
    made = await make(report_type(sql, {"day": "date", "at": "timestamp", "t": "text"}))
    day, at, text = cells(made)[1]
    assert (day, at) == ("2024-01-01", "2024-01-01 00:00:00+00")
    assert text.endswith("+00")
