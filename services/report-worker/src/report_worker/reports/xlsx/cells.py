"""One cell of a worksheet as XML: typed where a spreadsheet holds the value exactly, else text."""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final

from report_worker.reports.defusing import FORMULA_STARTS
from report_worker.reports.xlsx.styles import (
    DATE,
    INTEGER,
    MOST_DECIMALS,
    NUMBER_AS_TEXT,
    QUOTED,
    TEXT,
    TIME,
    TIME_WITH_FRACTION,
    decimal_style,
)
from shared.catalogue import Column, ColumnType

LONGEST_TEXT: Final = 32_767
"""UTF-16 code units that a cell may hold."""

_EXACT_DIGITS: Final = 15
"""Significant digits that a spreadsheet's numbers keep and show; more become text."""

_LONGEST_NUMBER: Final = 300
"""Characters; what is larger or smaller may lie outside of a double's range."""

_FIRST_DAY: Final = "1900-03-01"
"""Before it spreadsheets count a 29 February 1900 that never was."""

_EPOCH: Final = date(1899, 12, 30).toordinal()
_DAY_MICROSECONDS: Final = 86_400_000_000
_LAST_EXACT_DAY: Final = 2**16
"""From then (2079) on, a double counts days in steps of more than a microsecond."""

_SPECIAL: Final = re.compile("[&<>\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_FORMULA: Final = tuple(FORMULA_STARTS)

CellWriter = Callable[[str, str], str]
"""Writes the cell at a reference such as `B7` from its text."""


class TextTooLongError(Exception):
    """A cell can't hold the text."""


def cell_writer(column: Column, *, defuse: bool) -> CellWriter:
    """Choose how a column's cells are written.

    Text is never a formula, as it is marked as text. Where formulas are defused, text that looks
    like one also bears the mark of a typed apostrophe, so that it stays text when it is edited.
    """
    match column.type:
        case ColumnType.TEXT:
            return _defused if defuse else text_cell
        case ColumnType.INTEGER | ColumnType.DECIMAL:
            return _number
        case ColumnType.DATE:
            return _date
        case ColumnType.TIMESTAMP:
            return _timestamp
        case ColumnType.BOOLEAN:
            return _boolean


def text_cell(reference: str, text: str, style: int = TEXT) -> str:
    """Write text as it is; raises `TextTooLongError`."""
    if len(text) > LONGEST_TEXT // 2 and len(text.encode("utf-16-le")) > 2 * LONGEST_TEXT:
        raise TextTooLongError
    space = ' xml:space="preserve"' if text != text.strip() else ""
    return (
        f'<c r="{reference}" s="{style}" t="inlineStr"><is><t{space}>{escaped(text)}</t></is></c>'
    )


def escaped(text: str) -> str:
    """Escape markup; characters that XML can't hold are written as `_x0001_`, as Excel does."""
    return _SPECIAL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _ENTITIES.get(character) or f"_x{ord(character):04X}_"


def _defused(reference: str, text: str) -> str:
    return text_cell(reference, text, QUOTED if text.startswith(_FORMULA) else TEXT)


def _number(reference: str, text: str) -> str:
    decimals = len(text.partition(".")[2])
    if not _is_exact(text) or decimals > MOST_DECIMALS:
        return text_cell(reference, text, NUMBER_AS_TEXT)
    style = decimal_style(decimals) if decimals else INTEGER
    return f'<c r="{reference}" s="{style}"><v>{text}</v></c>'


def _is_exact(number: str) -> bool:
    """Whether a double keeps, and a spreadsheet shows, every digit."""
    if not number[-1:].isdigit() or len(number) > _LONGEST_NUMBER:  # NaN, infinity
        return False
    if len(number) <= _EXACT_DIGITS:
        return True
    return len(number.replace(".", "").strip("-0")) <= _EXACT_DIGITS


def _date(reference: str, text: str) -> str:
    if not _is_countable(text) or len(text) != len(_FIRST_DAY):
        return text_cell(reference, text)
    return f'<c r="{reference}" s="{DATE}"><v>{_day(text)}</v></c>'


def _timestamp(reference: str, text: str) -> str:
    day, is_time, time = text.partition("T")
    if not (is_time and _is_countable(day) and time.endswith("+00:00")):
        return text_cell(reference, text)
    clock, _, fraction = time.removesuffix("+00:00").partition(".")
    microseconds = _clock_microseconds(clock) + int(fraction.ljust(6, "0"))
    days = _day(day)
    if days >= _LAST_EXACT_DAY and microseconds % 1000:
        return text_cell(reference, text)
    serial = (days * _DAY_MICROSECONDS + microseconds) / _DAY_MICROSECONDS
    style = TIME_WITH_FRACTION if fraction else TIME
    return f'<c r="{reference}" s="{style}"><v>{serial!r}</v></c>'


def _is_countable(day: str) -> bool:
    """Whether spreadsheets count the day: from 1900-03-01 to 9999-12-31."""
    return len(day) == len(_FIRST_DAY) and day[0].isdigit() and day >= _FIRST_DAY


@lru_cache(maxsize=4096)
def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - _EPOCH


def _clock_microseconds(clock: str) -> int:
    hours, minutes, seconds = clock.split(":")
    return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000


def _boolean(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="b"><v>{int(text == "true")}</v></c>'
