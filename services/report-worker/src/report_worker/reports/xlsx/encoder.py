"""A workbook of one sheet, zipped as its rows come: memory and disk don't grow with the rows.

Office Open XML (ECMA-376) needs to know nothing of the rows before they are written, except for
the columns' widths, which are chosen by the titles and the rows that come first.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import IO, Final

from report_worker.reports.cells import TextRow
from report_worker.reports.errors import text_too_long, too_many_rows, workbook_too_large
from report_worker.reports.report import ReportSpec
from report_worker.reports.xlsx.cells import LONGEST_TEXT, TextTooLongError, cell_writer, text_cell
from report_worker.reports.xlsx.parts import (
    CONTENT_TYPES,
    RELATIONSHIPS,
    WORKBOOK_RELATIONSHIPS,
    core_properties,
    sheet_end,
    sheet_start,
    workbook,
)
from report_worker.reports.xlsx.styles import HEADING, stylesheet
from shared.report_request import ReportFormat

MOST_ROWS: Final = 1_048_576 - 1
"""Rows of the report: what the format allows, without the row of titles."""

_LARGEST_SHEET: Final = 2**31 - 1
"""Bytes before compression: beyond, zip needs an extension that spreadsheets stumble over."""

_COMPRESSION: Final = 4
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


class XlsxEncoder:
    """Writes rows as a workbook, some at a time."""

    def __init__(self, spec: ReportSpec) -> None:
        self._spec = spec
        self._type = spec.report_type
        self._sink = _Sink()
        self._zip = _Archive(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION)
        self._cells = [
            (letters(index), cell_writer(column, defuse=self._type.defuse_formulas))
            for index, column in enumerate(self._type.columns)
        ]
        self._sheet: IO[bytes] | None = None
        self._rows = 0
        self._size = 0

    def encode(self, rows: Sequence[TextRow]) -> bytes:
        """Give the file's next bytes; the first rows also say how wide the columns are.

        Raises `ReportError` for what a workbook can't hold.
        """
        if self._rows + len(rows) > MOST_ROWS:
            raise too_many_rows(MOST_ROWS, ReportFormat.XLSX, self._type.formats)
        start = "" if self._sheet else self._start(rows)
        first = self._rows + 2
        self._add(start + "".join(self._row(first + n, row) for n, row in enumerate(rows)))
        self._rows += len(rows)
        return self._sink.taken()

    def finish(self) -> bytes:
        """Give the file's last bytes."""
        start = "" if self._sheet else self._start([])
        self._add(start + sheet_end(letters(len(self._cells) - 1), self._rows + 1))
        if self._sheet is not None:
            self._sheet.close()
        last = f"${letters(len(self._cells) - 1)}${self._rows + 1}"
        self._part("xl/workbook.xml", workbook(last))
        self._zip.close()
        return self._sink.taken()

    def _start(self, first_rows: Sequence[TextRow]) -> str:
        self._part("[Content_Types].xml", CONTENT_TYPES)
        self._part("_rels/.rels", RELATIONSHIPS)
        self._part("docProps/core.xml", core_properties(self._spec))
        self._part("xl/_rels/workbook.xml.rels", WORKBOOK_RELATIONSHIPS)
        self._part("xl/styles.xml", stylesheet())
        self._sheet = self._zip.open("xl/worksheets/sheet1.xml", "w")
        titles = "".join(
            text_cell(f"{letter}1", column.title, HEADING)
            for (letter, _), column in zip(self._cells, self._type.columns, strict=True)
        )
        head = sheet_start(self._type.columns, first_rows)
        return f'{_DECLARATION}{head}<row r="1">{titles}</row>'

    def _row(self, number: int, row: TextRow) -> str:
        try:
            cells = [
                write(f"{letter}{number}", text)
                for (letter, write), text in zip(self._cells, row, strict=True)
                if text is not None
            ]
        except TextTooLongError:
            raise text_too_long(LONGEST_TEXT, self._type.formats) from None
        return f'<row r="{number}">{"".join(cells)}</row>'

    def _add(self, xml: str) -> None:
        data = xml.encode()
        self._size += len(data)
        if self._size > _LARGEST_SHEET:
            raise workbook_too_large(self._type.formats)
        if self._sheet is not None:
            self._sheet.write(data)

    def _part(self, name: str, xml: str) -> None:
        # Not `writestr`, which would put the time of the clock in.
        with self._zip.open(name, "w") as part:
            part.write((_DECLARATION + xml).encode())


class _Archive(zipfile.ZipFile):
    """A zip that may be left unfinished: its bytes are gone already, or nobody's."""

    def __del__(self) -> None:
        """Leave it."""


class _Sink(io.RawIOBase):
    """What the zip is written into; it can't go back, and its bytes are taken as they come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override] # zipfile gives bytes
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Give what was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def letters(index: int) -> str:
    """Name a column, counted from 0: A to Z, AA, AB and so on."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
