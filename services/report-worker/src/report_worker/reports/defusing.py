"""Text that a spreadsheet would run as a formula: found and defused in the bytes of COPY's CSV."""

import re
from collections.abc import Sequence
from typing import Final

from shared.catalogue import Column, ColumnType

FORMULA_STARTS: Final = "=+-@\t\r"
"""A spreadsheet takes text that begins with one of these for a formula (OWASP, CSV injection)."""

_APOSTROPHE: Final = b"'"
_CELL_OPENERS: Final = (b",", b"\n", b"")
"""What stands before a cell; nothing before the first."""

# Each begins with the one byte that is searched for: a tenth of what an alternative costs.
_START = b"(?=[" + re.escape(FORMULA_STARTS.encode()) + b"])"
_QUOTE: Final = re.compile(b'"' + _START)
_LATER_CELL: Final = re.compile(b"," + _START)
_FIRST_CELL: Final = re.compile(b"\n" + _START)


class FormulaDefuser:
    """Puts an apostrophe before text that looks like a formula, as COPY's bytes go by.

    The data source would take ten times as long for it: there it is an expression for each cell.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._is_text = [column.type is ColumnType.TEXT for column in columns]

    def in_quotes(self, records: bytes) -> bytes:
        """Defuse the cells that COPY quoted, in whole records: nothing but text ever is.

        A quote inside a cell is doubled, and a closing one stands before a comma or a line's end.
        So one that stands at a cell's beginning, and before anything but a quote, opens it.
        """
        return _QUOTE.sub(_with_apostrophe_if_it_opens, records)

    def outside_quotes(self, records: bytes) -> bytes:
        """Defuse the other cells, in whole records from which the quoted ones were taken out."""
        lines = b"\n" + records
        for cell in (_LATER_CELL, _FIRST_CELL):
            lines = cell.sub(self._with_apostrophe_if_text, lines)
        return lines[1:]

    def _with_apostrophe_if_text(self, before_cell: re.Match[bytes]) -> bytes:
        """Numbers begin with a minus sign, too: what it is, its column says."""
        lines, cell = before_cell.string, before_cell.end()
        record = lines.rfind(b"\n", 0, cell) + 1
        is_text = self._is_text[lines.count(b",", record, cell)]
        return before_cell[0] + _APOSTROPHE if is_text else before_cell[0]


def _with_apostrophe_if_it_opens(quote: re.Match[bytes]) -> bytes:
    start = quote.start()
    # At 0 this is nothing.
    opens = quote.string[start - 1 : start] in _CELL_OPENERS
    return quote[0] + _APOSTROPHE if opens else quote[0]
