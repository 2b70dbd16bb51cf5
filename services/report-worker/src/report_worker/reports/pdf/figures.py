"""Values as people read them: thousands apart, dates and times short, nothing rounded."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar

from report_worker.reports.pdf.text import one_line
from shared.catalogue import Column, ColumnType
from shared.report_request import DateRange

V = TypeVar("V")

_BOOLEANS = {"true": "yes", "false": "no"}


def displayed(column: Column, text: str, decimals: int = 0) -> str:
    """Give a cell's text, from what the data source wrote; empty stays empty.

    Numbers get zeros up to so many decimals, so that points stand below each other.
    """
    match column.type:
        case ColumnType.INTEGER | ColumnType.DECIMAL:
            return grouped(text, decimals)
        case ColumnType.TIMESTAMP:
            return text[:19].replace("T", " ") if text[:1].isdigit() else text
        case ColumnType.BOOLEAN:
            return _BOOLEANS.get(text, text)
        case ColumnType.TEXT | ColumnType.DATE:
            return one_line(text)


def decimals_of(number: str) -> int:
    """Count the digits after the point."""
    return len(number.partition(".")[2])


def grouped(number: str, decimals: int = 0) -> str:
    """Set thousands apart, with every digit kept; a true minus sign before a negative."""
    whole, _, fraction = number.removeprefix("-").partition(".")
    if not whole.isdigit():
        return number
    sign = "\N{MINUS SIGN}" if number.startswith("-") else ""
    fraction = fraction.ljust(decimals, "0")
    return f"{sign}{int(whole):,}.{fraction}" if fraction else f"{sign}{int(whole):,}"


def plain(number: Decimal) -> str:
    """Write a number without exponent."""
    return f"{number:f}"


def long_date(day: date) -> str:
    """Write a day out, the same in every locale."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def period(dates: DateRange) -> str:
    """Write a range of whole days as short as it can be said."""
    first, last = dates.from_date, dates.to_date
    if first == last:
        return long_date(first)
    if (first.day, (last + timedelta(days=1)).day) == (1, 1):
        if (first.year, first.month) == (last.year, last.month):
            return f"{_MONTHS[first.month - 1]} {first.year}"
        if (first.year, first.month, last.month) == (last.year, 1, 12):
            return f"Year {first.year}"
    return f"{long_date(first)} – {long_date(last)}"  # noqa: RUF001 - an en dash means "to"


def short_dates(points: Sequence[tuple[str, V]]) -> list[tuple[str, V]]:
    """Shorten ISO dates for a chart's labels; with the year where they are of more than one."""
    has_years = len({label[:4] for label, _ in points}) > 1
    return [(_short_date(label, has_year=has_years), value) for label, value in points]


def _short_date(text: str, *, has_year: bool) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:  # NULL, infinity, a year before Christ
        return text
    month = _MONTHS[day.month - 1][:3]
    return f"{day.day} {month} {day.year}" if has_year else f"{day.day} {month}"


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
