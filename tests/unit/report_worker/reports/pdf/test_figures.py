"""Values as people read them."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_worker.reports.pdf.figures import displayed, grouped, period, short_dates
from shared.catalogue import Column, ColumnType
from shared.report_request import DateRange


@pytest.mark.parametrize(
    ("number", "decimals", "expected"),
    [
        ("0", 0, "0"),
        ("1234567", 0, "1,234,567"),
        ("-1234.50", 0, "\N{MINUS SIGN}1,234.50"),
        ("5", 2, "5.00"),
        ("5.125", 2, "5.125"),
        ("123456789012345678901234567890.10", 2, "123,456,789,012,345,678,901,234,567,890.10"),
        ("NaN", 2, "NaN"),
        ("-Infinity", 0, "-Infinity"),
        ("", 2, ""),
    ],
)
def test_numbers_keep_all_digits(number: str, decimals: int, expected: str) -> None:
    assert grouped(number, decimals) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.integers(0, 8))
def test_grouping_never_changes_a_number(number: Decimal, decimals: int) -> None:
    text = grouped(f"{number:f}", decimals)
    assert Decimal(text.replace(",", "").replace("\N{MINUS SIGN}", "-")) == number


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (ColumnType.TIMESTAMP, "2024-01-01T10:00:00.123456+00:00", "2024-01-01 10:00:00"),
        (ColumnType.TIMESTAMP, "infinity", "infinity"),
        (ColumnType.BOOLEAN, "true", "yes"),
        (ColumnType.BOOLEAN, "", ""),
        (ColumnType.DATE, "2024-02-29", "2024-02-29"),
        (ColumnType.TEXT, "a\nb", "a b"),
    ],
)
def test_each_type_has_its_look(kind: ColumnType, text: str, expected: str) -> None:
    assert displayed(Column(name="x", title="X", type=kind), text) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (date(2024, 1, 1), date(2024, 1, 31), "January 2024"),
        (date(2024, 2, 1), date(2024, 2, 28), "1 February 2024 – 28 February 2024"),  # noqa: RUF001
        (date(2024, 1, 1), date(2024, 12, 31), "Year 2024"),
        (date(2024, 3, 5), date(2024, 3, 5), "5 March 2024"),
    ],
)
def test_a_period_is_said_as_short_as_it_can_be(first: date, last: date, expected: str) -> None:
    assert period(DateRange(from_date=first, to_date=last)) == expected


def test_chart_labels_have_a_year_only_where_there_are_several() -> None:
    assert short_dates([("2024-01-02", 1), ("2024-01-03", 2)]) == [("2 Jan", 1), ("3 Jan", 2)]
    assert short_dates([("2023-12-31", 1), ("2024-01-01", 2)])[1] == ("1 Jan 2024", 2)
    assert short_dates([("", 1)]) == [("", 1)]
