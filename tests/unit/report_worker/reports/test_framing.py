"""From COPY's bytes to a file's bytes, wherever the batches are cut."""

import csv
import io
import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_worker.reports.defusing import FormulaDefuser
from report_worker.reports.framing import CsvFraming, Framing, JsonArrayFraming
from shared.catalogue import Column, ColumnType

TEXTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from('",\r\n\t=+-@5'),
    max_size=8,
)
NUMBERS = st.decimals(allow_nan=True, allow_infinity=True, places=2).map(str)
COLUMNS = st.lists(st.sampled_from([ColumnType.TEXT, ColumnType.DECIMAL]), min_size=1, max_size=4)
CUTS = st.lists(st.integers(0, 400), max_size=10)

Cell = str | None


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Column], list[list[Cell]]]:
    """Columns, and rows of text and numbers, None where NULL."""
    columns = [
        Column(name=f"c{number}", title="C", type=kind) for number, kind in enumerate(draw(COLUMNS))
    ]
    cells = [
        st.none() | (TEXTS if column.type is ColumnType.TEXT else NUMBERS) for column in columns
    ]
    return columns, draw(st.lists(st.tuples(*cells).map(list), max_size=8))


def records(columns: list[Column], rows: list[list[Cell]]) -> list[str]:
    """What PostgreSQL's COPY writes as CSV for these cells, record by record."""
    header = ",".join(column.name for column in columns)
    return [f"{header}\n", *(",".join(map(quoted, row)) + "\n" for row in rows)]


def quoted(cell: Cell) -> str:
    if cell is None:
        return ""
    return '"' + cell.replace('"', '""') + '"' if not cell or set(cell) & set('",\r\n') else cell


def framed(framing: Framing, pieces: Sequence[str], cuts: list[int]) -> bytes:
    """Frame the pieces in batches that end where some of them do."""
    edges = [0, *sorted(min(cut, len(pieces)) for cut in cuts), len(pieces)]
    batches = ["".join(pieces[start:end]).encode() for start, end in pairwise(edges)]
    return b"".join([framing.frame(batch) for batch in batches] + [framing.finish()])


@given(tables(), st.booleans(), CUTS)
def test_csv_is_what_defusing_cell_by_cell_gives(
    table: tuple[list[Column], list[list[Cell]]], defuses: bool, cuts: list[int]
) -> None:
    columns, rows = table
    framing = CsvFraming(FormulaDefuser(columns) if defuses else None)
    expected = [list(map(defused, columns, row)) for row in rows] if defuses else rows
    text = framed(framing, records(columns, rows), cuts).decode()
    assert text == "".join(one[:-1] + "\r\n" for one in records(columns, expected))
    assert framing.rows == len(rows)
    read_back = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    as_read = [[cell or "" for cell in row] for row in expected]
    # An empty line is how one NULL alone is written, and how no cell at all is read.
    assert [row or [""] for row in read_back[1:]] == as_read


def defused(column: Column, cell: Cell) -> Cell:
    """The rule, as it is told."""
    if column.type is not ColumnType.TEXT or cell is None:
        return cell
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell


def test_line_ends_inside_a_cell_stay_as_they_are() -> None:
    pieces = ['1,"a\nb\r\nc"\n', '2,"say ""hi""\n"\n']
    assert framed(CsvFraming(None), pieces, []) == b'1,"a\nb\r\nc"\r\n2,"say ""hi""\n"\r\n'


@pytest.mark.parametrize("part", [b'1,"a\n', b"1,a"])
def test_a_part_of_a_record_is_refused_instead_of_misread(part: bytes) -> None:
    with pytest.raises(ValueError, match="ends inside a record"):
        CsvFraming(None).frame(part)


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers()), max_size=6), CUTS)
def test_json_rows_become_one_array(rows: list[dict[str, object]], cuts: list[int]) -> None:
    framing = JsonArrayFraming()
    assert json.loads(framed(framing, [json.dumps(row) + "\n" for row in rows], cuts)) == rows
    assert framing.rows == len(rows)


def test_no_rows_are_an_empty_array() -> None:
    assert framed(JsonArrayFraming(), [], []) == b"[]\n"
