"""Figures in one currency: exact, for every day, and never with an order left out."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_worker.plugins import PermanentError
from sales_analytics.aggregation import Sales, convert, figures

FIRST = date(2024, 2, 27)
RATES = {FIRST: {"USD": Decimal("1.25"), "JPY": Decimal(160)}}


def test_amounts_are_divided_by_the_days_rate_of_their_currency() -> None:
    sales = [
        Sales(FIRST, "EUR", 2, Decimal("0.10")),
        Sales(FIRST, "USD", 1, Decimal("2.50")),
        Sales(FIRST, "JPY", 3, Decimal(16)),
    ]
    assert convert(sales, "EUR", RATES) == {FIRST: (6, Decimal("2.20"))}


@pytest.mark.parametrize(
    ("sales", "code"),
    [
        (Sales(FIRST, "GBP", 1, Decimal(1)), "RATE_MISSING"),
        (Sales(FIRST + timedelta(days=1), "USD", 1, Decimal(1)), "RATE_MISSING"),
        (Sales(FIRST, None, 1, Decimal(1)), "CURRENCY_MISSING"),
    ],
)
def test_an_amount_that_can_t_be_converted_is_never_left_out(sales: Sales, code: str) -> None:
    with pytest.raises(PermanentError) as refused:
        convert([sales], "EUR", RATES)
    assert refused.value.code == code


def test_days_without_orders_have_rows_of_their_own() -> None:
    totals = {FIRST: (2, Decimal(10)), FIRST + timedelta(days=7): (1, Decimal(4))}
    days = list(figures(totals, FIRST, FIRST + timedelta(days=7)))
    assert [one.orders for one in days] == [2, 0, 0, 0, 0, 0, 0, 1]
    assert (days[0].average_order, days[1].average_order) == (Decimal(5), None)
    assert [one.revenue_7_days for one in days] == [10, 10, 10, 10, 10, 10, 10, 4]


@given(st.lists(st.tuples(st.integers(0, 9), st.decimals(0, 10**9, places=2)), max_size=30))
def test_no_revenue_is_lost(amounts: list[tuple[int, Decimal]]) -> None:
    sales = [Sales(FIRST + timedelta(days=day), "EUR", 1, amount) for day, amount in amounts]
    days = list(figures(convert(sales, "EUR", {}), FIRST, FIRST + timedelta(days=9)))
    assert sum(one.revenue for one in days) == sum(amount for _, amount in amounts)
    assert sum(one.orders for one in days) == len(amounts)
