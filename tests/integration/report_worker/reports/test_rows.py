"""Rows that a program gives become the very files that a query's rows become."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from report_worker.reports import ReportError, open_store
from report_worker.reports.artifacts import artifact_writer
from report_worker.reports.cells import Row
from report_worker.reports.progress import ProgressReporter
from report_worker.reports.rows import write_rows
from shared.catalogue import ReportType
from tests.integration.report_worker.reports.conftest import (
    PATH,
    Make,
    files_in,
    report_spec,
    report_type,
)

COLUMNS: dict[str, Any] = {
    "t": "text",
    "i": "integer",
    "d": "decimal",
    "s": {"type": "decimal", "scale": 2},
    "day": "date",
    "at": "timestamp",
    "flag": "boolean",
}
TABLE = """
CREATE TABLE shop.given (n serial PRIMARY KEY, t text, i bigint, d numeric, s numeric, day date,
                         at timestamptz, flag bool);
GRANT SELECT ON shop.given TO report_source
"""
ALL_COLUMNS = report_type(
    "SELECT t, i, d, s, day, at, flag FROM shop.given ORDER BY n",
    COLUMNS,
    pdf={"totals": {"columns": ["i", "s"]}},
)
ONE_COLUMN = report_type("SELECT t FROM shop.given ORDER BY n", {"t": "text"})

TEXTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from('",\r\n\t=+-@\\.\x01\x02\x0b\x1f\x7f_x<&> '),
    max_size=8,
)
DECIMALS = st.decimals(allow_infinity=True, allow_nan=True, min_value=None, max_value=None).filter(
    lambda number: not number.is_finite() or -60 < number.adjusted() < 60
)
TIMES = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9998, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=30))]),
)
ROWS = st.lists(
    st.tuples(
        st.none() | TEXTS,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | DECIMALS,
        st.none() | DECIMALS,
        # The driver that inserts them takes the first and the last for infinite.
        st.none() | st.dates(date.min + timedelta(1), date.max - timedelta(1)),
        st.none() | TIMES,
        st.none() | st.booleans(),
    ),
    max_size=6,
)
CUTS = st.lists(st.integers(0, 6), max_size=3)
FORMATS = ["CSV", "JSON", "NDJSON", "XLSX"]


async def written(
    folder: Path, kind: ReportType, file_format: str, *batches: Sequence[Row]
) -> tuple[int, bytes]:
    """Write the batches, and read the file back."""

    async def given_batches() -> AsyncIterator[Sequence[Row]]:
        for batch in batches:
            yield batch

    async with artifact_writer(
        open_store(folder.as_uri()), PATH, media_type="x/y", time_limit=20
    ) as writer:
        spec = report_spec(kind, file_format)
        count = await write_rows(spec, given_batches(), writer, ProgressReporter())
    return count, (folder / PATH).read_bytes()


@pytest.fixture
async def table(admin: asyncpg.Connection) -> None:
    await admin.execute(TABLE)


@pytest.mark.parametrize("file_format", FORMATS)
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS, cuts=CUTS)
async def test_equal_values_give_equal_bytes(
    make: Make,
    admin: asyncpg.Connection,
    table: None,
    tmp_path: Path,
    file_format: str,
    rows: list[Row],
    cuts: list[int],
) -> None:
    await admin.execute("TRUNCATE shop.given RESTART IDENTITY")
    await admin.executemany(
        "INSERT INTO shop.given (t, i, d, s, day, at, flag) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        rows,
    )
    edges = [0, *sorted(cuts), len(rows)]
    batches = [rows[start:end] for start, end in pairwise(edges)]
    made = await make(ALL_COLUMNS, file_format)
    assert await written(tmp_path, ALL_COLUMNS, file_format, *batches) == (len(rows), made.content)
    texts = [[row[:1] for row in batch] for batch in batches]
    made = await make(ONE_COLUMN, file_format)
    assert await written(tmp_path, ONE_COLUMN, file_format, *texts) == (len(rows), made.content)


async def test_a_pdf_is_the_same_whoever_gives_its_rows(make: Make, tmp_path: Path) -> None:
    kind = report_type(
        "SELECT i AS n, 'row ' || i AS t FROM generate_series(1, 300) AS i ORDER BY i",
        {"t": "text", "n": "integer"},
        pdf={"totals": {"columns": ["n"]}},
    )
    made = await make(kind, "PDF")
    rows = [(f"row {number}", number) for number in range(1, 301)]
    assert await written(tmp_path, kind, "PDF", rows[:7], rows[7:]) == (300, made.content)


async def test_more_rows_than_a_pdf_may_have_are_refused_as_they_come(tmp_path: Path) -> None:
    kind = report_type("SELECT 1 AS n", {"n": "integer"}, limits={"max_pdf_rows": 2})
    with pytest.raises(ReportError, match="more than the 2 rows that a PDF may have"):
        await written(tmp_path, kind, "PDF", [(1,)], [(2,), (3,)])
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("file_format", FORMATS)
async def test_batches_of_any_size_become_one_file(tmp_path: Path, file_format: str) -> None:
    kind = report_type("SELECT 1 AS n", {"n": "integer"})
    rows = [(number,) for number in range(5_000)]
    whole = await written(tmp_path, kind, file_format, rows)
    assert await written(tmp_path, kind, file_format, *([row] for row in rows)) == whole
    assert whole[0] == 5_000


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("decimal", 0.1),
        ("decimal", True),
        ("integer", True),
        ("integer", Decimal(1)),
        ("text", b"x"),
        ("text", 1),
        ("date", datetime(2024, 1, 1, tzinfo=UTC)),
        ("timestamp", date(2024, 1, 1)),
        ("timestamp", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
        ("boolean", 1),
    ],
)
async def test_a_value_that_is_not_as_declared_is_refused_by_name(
    tmp_path: Path, column: str, value: Any
) -> None:
    kind = report_type("SELECT 1 AS n", {"n": column})
    with pytest.raises(ReportError, match=f"column n is declared {column}") as refused:
        await written(tmp_path, kind, "CSV", [(value,)])
    assert not refused.value.transient
    assert files_in(tmp_path) == []


async def test_a_row_of_another_length_is_refused(tmp_path: Path) -> None:
    kind = report_type("SELECT 1 AS n", {"n": "integer"})
    with pytest.raises(ReportError, match="it has 1 columns, and a row has 2 values"):
        await written(tmp_path, kind, "JSON", [(1, 2)])


async def test_what_no_text_can_hold_is_replaced(tmp_path: Path) -> None:
    kind = report_type("SELECT 'x' AS t", {"t": "text"})
    count, content = await written(tmp_path, kind, "NDJSON", [("a\0b\ud800",)])
    assert (count, content.decode()) == (1, '{"t":"a\ufffdb\ufffd"}\n')


async def test_naive_times_are_utc(tmp_path: Path) -> None:
    kind = report_type("SELECT now() AS at", {"at": "timestamp"})
    naive = datetime(2024, 1, 1, 12, 30)  # noqa: DTZ001 - what is tested
    assert (await written(tmp_path, kind, "CSV", [(naive,)]))[1] == (
        b"at\r\n2024-01-01 12:30:00+00\r\n"
    )
