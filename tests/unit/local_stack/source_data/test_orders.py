"""What an order's cells have to look like."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from local_stack.source_data.orders import Cell, CellError, header_problem, read_cell

REQUIRED = ["order_id", "customer_id", "created_at", "amount"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("order_id", "A-1", "A-1"),
        ("created_at", "2024-01-31", datetime(2024, 1, 31, tzinfo=UTC)),
        ("created_at", "2024-01-31 13:45", datetime(2024, 1, 31, 13, 45, tzinfo=UTC)),
        ("created_at", "2024-01-31T13:45:00.5Z", datetime(2024, 1, 31, 13, 45, 0, 500_000, UTC)),
        (
            "created_at",
            "2024-01-31T13:45:00+05:30",
            datetime(2024, 1, 31, 13, 45, tzinfo=timezone(timedelta(hours=5.5))),
        ),
        ("amount", "-0.10", Decimal("-0.10")),
        ("amount", "1234567890.123456", Decimal("1234567890.123456")),
        ("currency", "EUR", "EUR"),
        ("note", "two\nlines", "two\nlines"),
        ("note", "", None),
        ("status", "", None),
    ],
)
def test_good_cells_are_read_exactly(name: str, text: str, value: Cell) -> None:
    assert read_cell(name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("order_id", "", "is empty"),
        ("order_id", " A", "has spaces around it"),
        ("order_id", "a\tb", "control character"),
        ("order_id", "x" * 101, "longer than 100"),
        ("created_at", "31.01.2024", "is not a time such as"),
        ("created_at", "2024-02-30", "is not a time that exists"),
        ("created_at", "2024-01-31T25:00", "is not a time that exists"),
        ("created_at", "0001-01-01", "years 1900 to 9998"),
        ("amount", "12,50", "is not a number"),
        ("amount", "1e5", "is not a number"),
        ("amount", "NaN", "is not a number"),
        ("amount", "€5", "is not a number"),
        ("amount", "١٢", "is not a number"),
        ("currency", "eur", "currency code"),
        ("note", "x" * 2001, "longer than 2,000"),
    ],
)
def test_bad_cells_say_why(name: str, text: str, reason: str) -> None:
    with pytest.raises(CellError, match=reason):
        read_cell(name, text)


def test_the_header_may_come_in_any_order() -> None:
    assert header_problem(["note", *reversed(REQUIRED)]) is None


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([*REQUIRED, "colour"], "column 5 (colour) is not known"),
        ([*REQUIRED, "Amount"], "column 5 (Amount) is not known"),
        ([*REQUIRED, "amount"], "column 5 (amount) is there twice"),
        (["order_id", "amount"], "has no column customer_id, created_at"),
        (["order_id;customer_id;amount"], "separated by commas"),
    ],
)
def test_a_wrong_header_is_named(names: list[str], problem: str) -> None:
    assert problem in (header_problem(names) or "")
