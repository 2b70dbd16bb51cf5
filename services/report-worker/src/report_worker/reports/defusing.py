"""Text that a spreadsheet would run as a formula: found and defused in the bytes of COPY's CSV."""

from collections.abc import Sequence
from typing import Final

from shared.catalogue import Column, ColumnType

FORMULA_STARTS: Final = "=+-@\t\r"
"""A spreadsheet takes text that begins with one of these for a formula (OWASP, CSV injection)."""

_STARTS: Final = FORMULA_STARTS.encode()
_FIRST_BYTES: Final = frozenset(bytes([start]) for start in _STARTS)
_BEFORE_A_CELL: Final = frozenset((b",", b"\n"))
_MINUS: Final = ord("-")
_APOSTROPHE: Final = b"'"

# Bytes of one class become one byte, so that one search finds them all, in half of the time that
# regular expressions take.
_CLASSES: Final = bytes.maketrans(_STARTS + b"\n", b"=" * len(_STARTS) + b",")
_START_OF_A_CELL: Final = b",="


class FormulaDefuser:
    """Puts an apostrophe before text that looks like a formula, as COPY's bytes go by.

    The data source would take ten times as long for it: there it is an expression for each cell.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._is_text = [column.type is ColumnType.TEXT for column in columns]

    def quoted(self, pieces: list[bytes]) -> None:
        """Defuse the cells that COPY quoted, in whole records that were split at the quotes.

        Nothing but text is ever quoted. Every second piece is inside; one that is no cell's
        beginning follows on a doubled quote, with nothing in between.
        """
        for index, piece in enumerate(pieces[1::2]):
            if piece[:1] in _FIRST_BYTES:
                before = pieces[2 * index]
                if before[-1:] in _BEFORE_A_CELL or index == 0:
                    pieces[2 * index + 1] = _APOSTROPHE + piece

    def unquoted(self, records: bytes) -> bytes:
        """Defuse the other cells, in whole records from which the quoted ones were taken out."""
        # With the comma before the very first cell too, a cell is found at its place in `records`.
        classes = b"," + records.translate(_CLASSES)
        pieces: list[bytes] = []
        end = 0
        cell = classes.find(_START_OF_A_CELL)
        while cell >= 0:
            if self._is_formula(records, cell):
                pieces += (records[end:cell], _APOSTROPHE)
                end = cell
            cell = classes.find(_START_OF_A_CELL, cell + 1)
        return b"".join((*pieces, records[end:])) if pieces else records

    def _is_formula(self, records: bytes, cell: int) -> bool:
        """A number may begin with a minus sign, too: whether a cell is one, its column says."""
        if records[cell] != _MINUS:
            return True
        record = records.rfind(b"\n", 0, cell) + 1
        return self._is_text[records.count(b",", record, cell)]
