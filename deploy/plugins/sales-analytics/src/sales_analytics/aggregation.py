"""From orders in many currencies to each day's figures in one: pure, exact, and nothing else."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from report_worker.plugins import PermanentError

_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Sales:
    """The orders of one day in one currency, or in one that nobody wrote down."""

    day: date
    currency: str | None
    orders: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """One day's figures in the report's currency."""

    day: date
    orders: int
    revenue: Decimal
    average_order: Decimal | None
    """None on a day without orders."""
    revenue_7_days: Decimal
    """Revenue of the day and the six before it, as far as the report goes back."""


def convert(
    sales: Sequence[Sales],
    base: str,
    rates: Mapping[date, Mapping[str, Decimal]],
    check: Callable[[], None] = lambda: None,
) -> dict[date, tuple[int, Decimal]]:
    """Sum the orders and revenue of each day in the base currency.

    `check` is called for each day and may raise. Raises `PermanentError` where a rate is missing:
    a sum that leaves orders out looks like any other.
    """
    totals: defaultdict[date, tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for one in sales:
        check()
        if one.currency is None:
            raise PermanentError(f"Orders of {one.day} name no currency.", code="CURRENCY_MISSING")
        rate = Decimal(1) if one.currency == base else rates.get(one.day, {}).get(one.currency)
        if not rate:
            raise PermanentError(
                f"There is no exchange rate from {one.currency} to {base} on {one.day}.",
                code="RATE_MISSING",
            )
        orders, revenue = totals[one.day]
        totals[one.day] = orders + one.orders, revenue + one.amount / rate
    return dict(totals)


def figures(totals: Mapping[date, tuple[int, Decimal]], first: date, last: date) -> Iterator[Day]:
    """Give a row for every day, days without orders included."""
    week: list[Decimal] = []
    for day in _days(first, last):
        orders, revenue = totals.get(day, (0, Decimal(0)))
        week = [*week, revenue][-_WEEK:]
        average = revenue / orders if orders else None
        yield Day(day, orders, revenue, average, sum(week, Decimal(0)))


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=more) for more in range((last - first).days + 1))
