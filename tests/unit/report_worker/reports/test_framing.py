"""From COPY's bytes to a file's bytes, wherever the batches are cut."""

import csv
import io
import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from report_worker.reports.framing import CsvFraming, Framing, JsonArrayFraming

CELLS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from('",\r\n='),
    max_size=12,
)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=8)
CUTS = st.lists(st.integers(0, 400), max_size=10)


def copied(rows: list[list[str]]) -> bytes:
    """What PostgreSQL's COPY writes as CSV for these cells."""
    return "".join(",".join(map(quoted, row)) + "\n" for row in rows).encode()


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set('",\r\n') else cell


def framed(framing: Framing, data: bytes, cuts: list[int]) -> bytes:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    batches = [data[start:end] for start, end in pairwise(edges)]
    return b"".join([framing.frame(batch) for batch in batches] + [framing.finish()])


@given(ROWS, CUTS)
def test_csv_reads_back_and_every_record_ends_in_crlf(
    rows: list[list[str]], cuts: list[int]
) -> None:
    framing = CsvFraming()
    text = framed(framing, copied(rows), cuts).decode()
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == rows
    outside_quotes = "".join(text.split('"')[::2])
    assert outside_quotes.count("\n") == outside_quotes.count("\r\n") == len(rows)
    assert framing.rows == len(rows) - 1


def test_line_ends_inside_a_cell_stay_as_they_are() -> None:
    data = b'1,"a\nb\r\nc"\n2,"say ""hi""\n"\n'
    assert framed(CsvFraming(), data, []) == b'1,"a\nb\r\nc"\r\n2,"say ""hi""\n"\r\n'


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers()), max_size=6), CUTS)
def test_json_rows_become_one_array(rows: list[dict[str, object]], cuts: list[int]) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    framing = JsonArrayFraming()
    assert json.loads(framed(framing, data, cuts)) == rows
    assert framing.rows == len(rows)


def test_no_rows_are_an_empty_array() -> None:
    assert framed(JsonArrayFraming(), b"", []) == b"[]\n"
