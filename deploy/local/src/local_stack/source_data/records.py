"""Reading CSV strictly, record by record, with the place of whatever is wrong."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from local_stack.errors import SetupError

_LONGEST_LINE: Final = 64 * 1024
_LONGEST_RECORD: Final = 128 * 1024  # the csv module takes cells up to this
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_CELL: Final = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
_RECORD: Final = re.compile(rf"{_CELL}(?:,{_CELL})*\r?\n?")


class DataFileError(SetupError):
    """A file can't be loaded; the message names file, line and column, and nothing was loaded."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record's cells, and the line of the file that it begins on, from 1."""

    line: int
    cells: list[str]


def read_records(path: Path) -> Iterator[Record]:
    """Read RFC 4180 CSV in UTF-8, header first, in constant memory.

    A byte order mark, LF line ends and empty lines at the end are fine. Raises `DataFileError` for
    what isn't CSV, with the line.
    """
    try:
        with path.open("rb") as stream:
            yield from _records(path, _lines(path, stream))
    except OSError as error:
        raise DataFileError(f"{path}: can't be read: {error.strerror}") from error


def _lines(path: Path, stream: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while raw := stream.readline(_LONGEST_LINE + 1):
        number += 1
        if number == 1:
            if raw.startswith(_UTF16):
                raise DataFileError(f"{path}: is UTF-16; save it as UTF-8")
            raw = raw.removeprefix(_BOM)
        yield number, _decoded(path, number, raw)


def _decoded(path: Path, line: int, raw: bytes) -> str:
    if len(raw) > _LONGEST_LINE:
        raise DataFileError(f"{path}, line {line}: is longer than {_LONGEST_LINE:,} bytes")
    if (position := raw.find(b"\0")) >= 0:
        raise DataFileError(
            f"{path}, line {line}: byte {position + 1} is NUL; is this a text file?"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        raise DataFileError(
            f"{path}, line {line}: byte {error.start + 1} (0x{byte:02x}) is not UTF-8"
        ) from error


def _records(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    empty: int | None = None
    for line, text in _whole_records(path, lines):
        if not text.strip("\r\n"):
            empty = empty or line
            continue
        if empty is not None:
            raise DataFileError(f"{path}, line {empty}: is empty")
        if not _RECORD.fullmatch(text):
            raise DataFileError(f"{path}, line {line}: {_what_is_wrong(text)}")
        yield Record(line, next(csv.reader([text], strict=True)))


def _whole_records(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Join lines until all quotes are closed."""
    started, record, is_open = 0, "", False
    for number, text in lines:
        if not is_open:
            started, record = number, ""
        record += text
        is_open ^= text.count('"') % 2 == 1
        if len(record) > _LONGEST_RECORD:
            break
        if not is_open:
            yield started, record
    if is_open:
        raise DataFileError(f"{path}, line {started}: a quote is opened and never closed")


def _what_is_wrong(text: str) -> str:
    if '"' in text:
        return 'wrong quoting: a cell with " in it stands in quotes, and has each " doubled'
    return "a carriage return stands alone; end lines with LF or CR LF"
