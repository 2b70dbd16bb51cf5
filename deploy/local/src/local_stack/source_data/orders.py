"""What an order in a file has to look like, cell by cell."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

_LONGEST_ID: Final = 100
_LONGEST_NAME: Final = 50
_LONGEST_NOTE: Final = 2000
_YEARS: Final = range(1900, 9999)
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII
)
_AMOUNT = re.compile(r"-?\d{1,15}(\.\d{1,6})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Cell = str | datetime | Decimal | None


class CellError(ValueError):
    """A cell's text isn't what its column holds; the message is the reason, for people."""


def _identifier(text: str) -> str:
    if text != text.strip():
        raise CellError("has spaces around it")
    return _name(text, _LONGEST_ID)


def _name(text: str, longest: int = _LONGEST_NAME) -> str:
    if _CONTROL.search(text):
        raise CellError("holds a control character")
    return _note(text, longest)


def _note(text: str, longest: int = _LONGEST_NOTE) -> str:
    if len(text) > longest:
        raise CellError(f"is longer than {longest:,} characters")
    return text


def _time(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise CellError("is not a time such as 2024-01-31T13:45:00Z")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CellError("is not a time that exists") from None
    if time.year not in _YEARS:
        raise CellError(f"lies outside of the years {_YEARS[0]} to {_YEARS[-1]}")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _amount(text: str) -> Decimal:
    if not _AMOUNT.fullmatch(text):
        raise CellError("is not a number such as 1234.50")
    return Decimal(text)


def _currency(text: str) -> str:
    if not _CURRENCY.fullmatch(text):
        raise CellError("is not a currency code such as EUR")
    return text


@dataclass(frozen=True, slots=True)
class _Column:
    read: Callable[[str], Cell]
    is_required: bool = False


COLUMNS: Final = {
    "order_id": _Column(_identifier, is_required=True),
    "customer_id": _Column(_identifier, is_required=True),
    "created_at": _Column(_time, is_required=True),
    "amount": _Column(_amount, is_required=True),
    "status": _Column(_name),
    "currency": _Column(_currency),
    "channel": _Column(_name),
    "region": _Column(_name),
    "note": _Column(_note),
}
REQUIRED: Final = tuple(name for name, column in COLUMNS.items() if column.is_required)


def header_problem(names: Sequence[str]) -> str | None:
    """Say what is wrong with a header, if anything; its order is free."""
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        return "cells have to be separated by commas"
    for position, name in enumerate(names, start=1):
        if name not in COLUMNS:
            return f"column {position} ({name}) is not known; known are {', '.join(COLUMNS)}"
        if name in names[: position - 1]:
            return f"column {position} ({name}) is there twice"
    missing = [name for name in REQUIRED if name not in names]
    return f"has no column {', '.join(missing)}" if missing else None


def read_cell(name: str, text: str) -> Cell:
    """Read one cell; an empty one is NULL where the column is optional.

    Raises `CellError`.
    """
    column = COLUMNS[name]
    if text:
        return column.read(text)
    if column.is_required:
        raise CellError("is empty")
    return None
