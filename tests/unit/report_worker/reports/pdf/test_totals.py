"""Sums over rows, exact whatever their size."""

from decimal import Decimal

from report_worker.reports.pdf.totals import chart_points, total_rows
from shared.catalogue import Column, ColumnType
from shared.catalogue.report_type import Chart, Totals

COLUMNS = [
    Column(name="day", title="Day", type=ColumnType.DATE),
    Column(name="currency", title="Currency", type=ColumnType.TEXT),
    Column(name="amount", title="Amount", type=ColumnType.DECIMAL),
]
ROWS = [
    ("2024-01-01", "USD", "0.10"),
    ("2024-01-01", "EUR", "99999999999999999999999999999999.99"),
    ("2024-01-02", "EUR", "0.01"),
    ("2024-01-02", "EUR", ""),
]


def test_totals_are_apart_by_group_and_exact() -> None:
    totals = Totals(columns=("amount",), by="currency")
    assert [(row.group, row.sums["amount"]) for row in total_rows(totals, COLUMNS, ROWS)] == [
        ("EUR", Decimal("100000000000000000000000000000000.00")),
        ("USD", Decimal("0.10")),
    ]


def test_one_total_over_everything() -> None:
    (row,) = total_rows(Totals(columns=("amount",)), COLUMNS, ROWS)
    assert row.group is None
    assert row.sums == {"amount": Decimal("100000000000000000000000000000000.10")}


def test_days_keep_their_order_and_names_go_by_size() -> None:
    by_day = Chart(kind="bar", title="T", label="day")
    assert chart_points(by_day, COLUMNS, ROWS) == [
        ("2024-01-01", Decimal(2)),
        ("2024-01-02", Decimal(2)),
    ]
    by_currency = Chart(kind="bar", title="T", label="currency")
    assert chart_points(by_currency, COLUMNS, ROWS) == [("EUR", Decimal(3)), ("USD", Decimal(1))]
    by_amount = Chart(kind="bar", title="T", label="currency", value="amount")
    assert chart_points(by_amount, COLUMNS, ROWS)[1] == ("USD", Decimal("0.10"))
