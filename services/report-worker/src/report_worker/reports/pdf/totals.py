"""Sums over a report's rows: the totals at its foot and the marks of its chart; exact."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from shared.catalogue import Column, ColumnType
from shared.catalogue.report_type import Chart, Totals

_DIGITS = 1000
"""More than any sum of PostgreSQL numerics that stands in a document needs, so none is rounded."""

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class TotalRow:
    """One line of totals: the group's value (None for all rows), and a sum for each column."""

    group: str | None
    sums: dict[str, Decimal]


def total_rows(totals: Totals, columns: Sequence[Column], rows: Iterable[Row]) -> list[TotalRow]:
    """Sum each of the totals' columns, apart for each value of the `by` column."""
    summed = [(name, _index(columns, name)) for name in totals.columns]
    by = None if totals.by is None else _index(columns, totals.by)
    groups: dict[str | None, list[Decimal]] = {}
    with localcontext(prec=_DIGITS):
        for row in rows:
            sums = groups.setdefault(None if by is None else row[by], [Decimal(0)] * len(summed))
            for position, (_, index) in enumerate(summed):
                sums[position] += Decimal(row[index] or 0)
    return [
        TotalRow(group, dict(zip(totals.columns, sums, strict=True)))
        for group, sums in sorted(groups.items(), key=lambda item: item[0] or "")
    ]


def chart_points(
    chart: Chart, columns: Sequence[Column], rows: Iterable[Row]
) -> list[tuple[str, Decimal]]:
    """Sum the value column (or count rows) for each label.

    Dates and numbers keep the order of the rows; names, which have none, go by size.
    """
    label = _index(columns, chart.label)
    value = None if chart.value is None else _index(columns, chart.value)
    points: dict[str, Decimal] = {}
    with localcontext(prec=_DIGITS):
        for row in rows:
            step = Decimal(1) if value is None else Decimal(row[value] or 0)
            points[row[label]] = points.get(row[label], Decimal(0)) + step
    if columns[label].type is ColumnType.TEXT:
        return sorted(points.items(), key=lambda point: (-point[1], point[0]))
    return list(points.items())


def _index(columns: Sequence[Column], name: str) -> int:
    return next(index for index, column in enumerate(columns) if column.name == name)
