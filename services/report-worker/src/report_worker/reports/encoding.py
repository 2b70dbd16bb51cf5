"""CSV, JSON and NDJSON of rows that a program gives: the bytes that a COPY of them would give."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from report_worker.reports.cells import TextRow
from report_worker.reports.defusing import FORMULA_STARTS
from report_worker.reports.framing import Framing, JsonArrayFraming, NdjsonFraming
from shared.catalogue import Column, ColumnType, ReportType

_QUOTED: Final = re.compile(r'[",\r\n]')
_NUMBER: Final = re.compile(r"-?\d")
_NULL: Final = "null"

_json_string = json.JSONEncoder(ensure_ascii=False).encode


class Encoder(Protocol):
    """Writes rows in one format, some at a time."""

    def encode(self, rows: Sequence[TextRow]) -> bytes:
        """Give the file's next bytes."""

    def finish(self) -> bytes:
        """Give the file's last bytes."""


class CsvEncoder:
    """RFC 4180, quoted as COPY quotes: NULL is nothing at all, and empty text is `""`."""

    def __init__(self, report_type: ReportType) -> None:
        columns = report_type.columns
        self._cells = [_csv_cell(column, report_type) for column in columns]
        self._head = ",".join(column.name for column in columns) + "\r\n"

    def encode(self, rows: Sequence[TextRow]) -> bytes:
        """Give the records, after the columns' names where nothing was written before."""
        head, self._head = self._head, ""
        return (head + "".join(map(self._record, rows))).encode()

    def finish(self) -> bytes:
        """Give the columns' names where there was no row."""
        return self.encode([])

    def _record(self, row: TextRow) -> str:
        cells = [
            "" if text is None else cell(text) for cell, text in zip(self._cells, row, strict=True)
        ]
        return ",".join(cells) + "\r\n"


def _csv_cell(column: Column, report_type: ReportType) -> Callable[[str], str]:
    if column.type is ColumnType.TIMESTAMP:
        return _csv_time
    if column.type is not ColumnType.TEXT:
        return str
    is_alone = len(report_type.columns) == 1
    defuse = report_type.defuse_formulas

    def cell(text: str) -> str:
        if defuse and text.startswith(tuple(FORMULA_STARTS)):
            text = f"'{text}"
        # Alone on its line, \. means the end to readers of COPY's output.
        if not text or _QUOTED.search(text) or (is_alone and text == "\\."):
            return '"' + text.replace('"', '""') + '"'
        return text

    return cell


def _csv_time(text: str) -> str:
    """Turn `2024-01-31T13:45:00.5+00:00` into `2024-01-31 13:45:00.5+00`, as COPY writes it."""
    return text.replace("T", " ").removesuffix(":00")


class JsonEncoder:
    """One compact object per row, its numbers with all their digits."""

    def __init__(self, report_type: ReportType, framing: Framing) -> None:
        self._framing = framing
        self._members = [
            (f'"{column.name}":', _json_value(column)) for column in report_type.columns
        ]

    @classmethod
    def array(cls, report_type: ReportType) -> "JsonEncoder":
        """All rows as one array."""
        return cls(report_type, JsonArrayFraming())

    @classmethod
    def lines(cls, report_type: ReportType) -> "JsonEncoder":
        """Each row on a line of its own."""
        return cls(report_type, NdjsonFraming())

    def encode(self, rows: Sequence[TextRow]) -> bytes:
        """Give the rows' objects."""
        lines = "".join("{" + ",".join(self._object(row)) + "}\n" for row in rows)
        return self._framing.frame(lines.encode())

    def finish(self) -> bytes:
        """Give what closes the file."""
        return self._framing.finish()

    def _object(self, row: TextRow) -> Iterator[str]:
        for (name, value), text in zip(self._members, row, strict=True):
            yield name + (_NULL if text is None else value(text))


def _json_value(column: Column) -> Callable[[str], str]:
    match column.type:
        case ColumnType.TEXT | ColumnType.DATE | ColumnType.TIMESTAMP:
            return _json_string
        case ColumnType.INTEGER | ColumnType.BOOLEAN:
            return str
        case ColumnType.DECIMAL:
            return _json_number


def _json_number(text: str) -> str:
    """Give a number as it stands; NaN and infinity, which JSON doesn't have, in quotes."""
    return text if _NUMBER.match(text) else f'"{text}"'
