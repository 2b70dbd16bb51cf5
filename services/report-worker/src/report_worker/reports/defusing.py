"""Text that a spreadsheet would run as a formula: found and defused in the bytes of COPY's CSV."""

from bisect import bisect
from collections.abc import Sequence
from typing import Final

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from shared.catalogue import Column, ColumnType

FORMULA_STARTS: Final = "=+-@\t\r"
"""A spreadsheet takes text that begins with one of these for a formula (OWASP, CSV injection)."""

_BEFORE_A_CELL: Final = (b",", b"\n")
_BEFORE_A_QUOTED_CELL: Final = (b',"', b'\n"')
_UNQUOTED_LENGTH: Final = 2
_MINUS: Final = ord("-")
_APOSTROPHE: Final = b"'"

# Neither stands in UTF-8. With so many different first bytes the library looks for all patterns
# at once with vector instructions, which takes a quarter of the time.
_IN_NO_TEXT: Final = (b"\xfe\xfe", b"\xff\xff")

_STARTS_OF_FORMULAS: Final = BytesAhoCorasick(
    [
        before + start.encode()
        for before in (*_BEFORE_A_CELL, *_BEFORE_A_QUOTED_CELL)
        for start in FORMULA_STARTS
    ]
    + list(_IN_NO_TEXT),
    matchkind=MatchKind.LeftmostFirst,
)


class FormulaDefuser:
    """Puts an apostrophe before text that looks like a formula, as COPY's bytes go by.

    The data source would take ten times as long for it: there it is an expression for each cell.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._is_text = [column.type is ColumnType.TEXT for column in columns]

    def defuse(self, records: bytes, quotes: Sequence[int]) -> bytes:
        """Defuse whole records, in which LF does nothing but end one.

        `quotes` are the places of all double quotes, in order.
        """
        pieces: list[bytes] = []
        end = 0
        # With a line's end before it, the very first cell is found like any other.
        for _, start, stop in _STARTS_OF_FORMULAS.find_matches_as_indexes(b"\n" + records):
            cell = stop - 2
            # A single quote after a comma, with something else behind it, always begins a cell,
            # and nothing but text is ever quoted.
            is_quoted = stop - start > _UNQUOTED_LENGTH
            if is_quoted or self._is_formula(records, quotes, cell):
                pieces += (records[end:cell], _APOSTROPHE)
                end = cell
        return b"".join((*pieces, records[end:])) if pieces else records

    def _is_formula(self, records: bytes, quotes: Sequence[int], cell: int) -> bool:
        """Tell text without quotes from the inside of quotes, and from a negative number."""
        if quotes and bisect(quotes, cell) % 2:
            return False
        if records[cell] != _MINUS:
            return True
        before = records[records.rfind(b"\n", 0, cell) + 1 : cell]
        return self._is_text[_commas(before) if quotes else before.count(b",")]


def _commas(record: bytes) -> int:
    """Count those outside of quotes."""
    return sum(outside.count(b",") for outside in record.split(b'"')[::2])
