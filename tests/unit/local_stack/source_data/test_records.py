"""Reading CSV strictly."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_stack.source_data.records import DataFileError, read_records


def cells(folder: Path, content: bytes) -> list[list[str]]:
    file = folder / "file.csv"
    file.write_bytes(content)
    return [record.cells for record in read_records(file)]


def test_byte_order_mark_line_ends_and_empty_lines_at_the_end_are_fine(tmp_path: Path) -> None:
    assert cells(tmp_path, b"\xef\xbb\xbfa,b\r\n1,2\n3,4\r\n\r\n\n") == [
        ["a", "b"],
        ["1", "2"],
        ["3", "4"],
    ]
    assert cells(tmp_path, b"a,b") == [["a", "b"]]
    assert cells(tmp_path, b"") == []


def test_a_record_knows_the_line_it_begins_on(tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_bytes(b'a,b\n"1\n\n2",x\n3,y\n')
    assert [(record.line, record.cells) for record in read_records(file)] == [
        (1, ["a", "b"]),
        (2, ["1\n\n2", "x"]),
        (5, ["3", "y"]),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n\n1,2\n", "line 2: is empty"),
        (b"a,b\n1,\x00\n", "line 2: byte 3 is NUL"),
        (b"a,b\n1,\xfc\n", r"line 2: byte 3 \(0xfc\) is not UTF-8"),
        (b"\xff\xfea\x00", "is UTF-16; save it as UTF-8"),
        (b'a,b\n1,x"y\n2,z\n', "line 2: a quote is opened and never closed"),
        (b'a,b\n1,x"y"\n', "line 2: wrong quoting"),
        (b'a,b\n1,"x"y\n', "line 2: wrong quoting"),
        (b'a,b\n1, "x"\n', "line 2: wrong quoting"),
        (b'a,b\n1,"x\n2,y\n', "line 2: a quote is opened and never closed"),
        (b"a,b\r1,2\r", "line 1: a carriage return stands alone"),
        (b"a" * 70_000, "line 1: is longer than 65,536 bytes"),
        (b'"' + b"a\n" * 100_000, "line 1: a quote is opened and never closed"),
    ],
)
def test_what_is_not_csv_is_refused_with_its_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataFileError, match=message):
        cells(tmp_path, content)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="No such file"):
        list(read_records(tmp_path / "missing.csv"))
    with pytest.raises(DataFileError, match="Is a directory"):
        list(read_records(tmp_path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(
        st.lists(
            st.text(
                st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])
                | st.sampled_from('",\r\n'),
                max_size=10,
            ),
            min_size=2,
            max_size=3,
        ),
        max_size=5,
    )
)
def test_whatever_a_csv_writer_writes_is_read_back(tmp_path: Path, rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    content = text.getvalue().encode()
    assert cells(tmp_path, content) == rows
