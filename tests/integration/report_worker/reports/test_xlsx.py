"""Workbooks of real rows, as a spreadsheet's reader finds them."""

import io
import re
import zipfile
from datetime import UTC, date, datetime
from typing import Any

import openpyxl
import pytest
from openpyxl.cell import Cell
from openpyxl.worksheet.worksheet import Worksheet

from report_worker.reports import ErrorCode, ReportError
from report_worker.reports.xlsx import encoder as xlsx_encoder
from tests.integration.report_worker.reports.conftest import Made, Make, report_type


def sheet(made: Made) -> Worksheet:
    workbook = openpyxl.load_workbook(io.BytesIO(made.content))
    assert isinstance(workbook.active, Worksheet)
    return workbook.active


def xml(made: Made) -> str:
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        assert archive.testzip() is None
        return archive.read("xl/worksheets/sheet1.xml").decode()


async def one_column(make: Make, kind: str, *expressions: str, **changes: Any) -> list[Cell]:
    """Make a workbook of one column; give its cells without the title."""
    rows = ", ".join(f"({number}, {value})" for number, value in enumerate(expressions))
    sql = f"SELECT v FROM (VALUES {rows}) AS rows (n, v) ORDER BY n"  # noqa: S608 - a test's own
    made = await make(report_type(sql, {"v": kind}, **changes), "XLSX")
    return [row[0] for row in sheet(made).iter_rows(min_row=2)]  # type: ignore[misc]


async def test_values_are_typed(make: Make) -> None:
    sql = """SELECT * FROM (VALUES
        (1, 'plain', 12.50::numeric, date '2024-02-29', timestamptz '2024-01-01 01:30:00.5+02',
         true),
        (2, NULL, NULL, NULL, NULL, NULL), (3, '', -0.1, date '1900-03-01', 'infinity', false)
    ) AS rows (id, name, amount, day, at, flag) ORDER BY id"""
    kinds: dict[str, Any] = {
        "id": "integer", "name": "text", "amount": "decimal", "day": "date", "at": "timestamp",
        "flag": "boolean",
    }  # fmt: skip
    made = await make(report_type(sql, kinds), "XLSX")
    rows = list(sheet(made).values)
    at = datetime(2023, 12, 31, 23, 30, 0, 500_000, UTC).replace(tzinfo=None)
    assert rows == [
        ("Id", "Name", "Amount", "Day", "At", "Flag"),
        (1, "plain", 12.5, datetime(2024, 2, 29), at, True),  # noqa: DTZ001 - a sheet's dates
        (2, None, None, None, None, None),
        (3, "", -0.1, datetime(1900, 3, 1), "infinity", False),  # noqa: DTZ001 - the same
    ]
    assert made.report.rows == 3
    assert made.report.media_type.endswith("spreadsheetml.sheet")


async def test_numbers_show_the_digits_that_they_came_with(make: Make) -> None:
    cells = await one_column(make, "decimal", "12.50", "1000", "0.000", "-1234567.891")
    assert [cell.number_format for cell in cells] == ["#,##0.00", "0", "#,##0.000", "#,##0.000"]


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("integer", ["9007199254740993", "-9223372036854775808"]),
        ("decimal", ["12345678901234567890.123456789", "0.1234567890123456", "NaN", "-Infinity"]),
        ("date", ["infinity", "1900-02-28", "0044-03-15 BC", "12024-01-01"]),
        ("timestamp", ["2090-01-01T00:00:00.123457+00:00", "-infinity"]),
    ],
)
async def test_what_a_spreadsheet_cannot_hold_exactly_is_text(
    make: Make, kind: str, written: list[str]
) -> None:
    sql_type = {"integer": "bigint", "decimal": "numeric", "timestamp": "timestamptz"}
    values = [f"'{text}'::{sql_type.get(kind, kind)}" for text in written]
    cells = await one_column(make, kind, *values)
    assert [(cell.value, cell.data_type) for cell in cells] == [(text, "s") for text in written]


async def test_the_longest_exact_numbers_are_numbers(make: Make) -> None:
    (cell,) = await one_column(make, "integer", "'-999999999999999'::bigint")
    assert (cell.value, cell.data_type) == (-999999999999999, "n")
    (cell,) = await one_column(make, "decimal", "1234567890.12345000000000::numeric")
    assert (cell.value, cell.number_format) == (1234567890.12345, f"#,##0.{'0' * 14}")


async def test_text_is_never_a_formula(make: Make) -> None:
    texts = ["=1+1", "+1", "-1", "@x", "plain", "1"]
    values = [f"'{text}'" for text in texts]
    cells = await one_column(make, "text", *values)
    assert [cell.value for cell in cells] == texts
    assert {cell.data_type for cell in cells} == {"s"}
    # An apostrophe as if it had been typed: the text stays text when somebody edits it.
    assert [cell.quotePrefix for cell in cells] == [True] * 4 + [False] * 2
    trusting = await one_column(make, "text", *values, defuse_formulas=False)
    assert {(cell.data_type, cell.quotePrefix) for cell in trusting} == {("s", False)}


async def test_any_character_is_kept_as_excel_writes_it(make: Make) -> None:
    kind = report_type(r"SELECT E'\x01 <b>&amp;</b> \r\n\t _x0041_ \x1f 😀' AS t", {"t": "text"})
    written = re.findall(r"<t[^>]*>([^<]*)</t>", xml(await make(kind, "XLSX")))[1]
    assert written == ("_x0001_ &lt;b&gt;&amp;amp;&lt;/b&gt; _x000D_\n\t _x005F_x0041_ _x001F_ 😀")


async def test_the_first_row_stays_and_filters_and_columns_have_widths(make: Make) -> None:
    kind = report_type(
        "SELECT repeat('x', 30) AS long, 1 AS n FROM generate_series(1, 3)",
        {"long": "text", "n": {"type": "integer", "title": "Number <of> things"}},
    )
    made = sheet(await make(kind, "XLSX"))
    assert made.freeze_panes == "A2"
    assert made.auto_filter.ref == "A1:B4"
    title = made["B1"]
    assert (title.value, title.font.b) == ("Number <of> things", True)
    assert made.column_dimensions["A"].width == 32
    assert made.column_dimensions["B"].width == 22


async def test_no_rows_are_a_workbook_of_titles(make: Make) -> None:
    made = await make(report_type("SELECT 1 AS n WHERE false", {"n": "integer"}), "XLSX")
    assert list(sheet(made).values) == [("N",)]
    assert made.report.rows == 0


async def test_many_rows_are_there_once_and_in_order(make: Make) -> None:
    sql = "SELECT i AS n, 'row ' || i AS t FROM generate_series(1, 5001) AS i ORDER BY i"
    made = await make(report_type(sql, {"n": "integer", "t": "text"}), "XLSX")
    rows = list(sheet(made).iter_rows(min_row=2, values_only=True))
    assert rows == [(number, f"row {number}") for number in range(1, 5002)]


async def test_more_rows_than_a_sheet_has_are_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx_encoder, "MOST_ROWS", 100)
    kind = report_type("SELECT i AS n FROM generate_series(1, 101) AS i", {"n": "integer"})
    with pytest.raises(ReportError, match=r"an XLSX file may have.*CSV, JSON or NDJSON") as refused:
        await make(kind, "XLSX")
    assert (refused.value.code, refused.value.transient) == (ErrorCode.TOO_LARGE, False)


async def test_a_text_that_no_cell_holds_is_refused_rather_than_cut(make: Make) -> None:
    longest = f"repeat('x', {32_767 - 2}) || '😀'"
    assert len(await one_column(make, "text", longest)) == 1
    with pytest.raises(ReportError, match="32,767 characters that a cell") as refused:
        await one_column(make, "text", f"{longest} || 'x'")
    assert refused.value.code == ErrorCode.TOO_LARGE


async def test_dates_from_1900_to_9999_are_dates(make: Make) -> None:
    cells = await one_column(make, "date", "date '1900-03-01'", "date '9999-12-31'")
    assert [cell.is_date for cell in cells] == [True, True]
    values = [cell.value for cell in cells]
    assert [value.date() for value in values if isinstance(value, datetime)] == [
        date(1900, 3, 1),
        date(9999, 12, 31),
    ]
