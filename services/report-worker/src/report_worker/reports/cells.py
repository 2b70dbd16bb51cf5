"""Python values as the text that the data source writes for values of the same column.

Every format is made of this text, so that a report whose rows come from a program and one whose
rows come from a query are the same, byte by byte.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Final

from report_worker.reports.errors import declared_wrongly
from report_worker.reports.storable import storable
from shared.catalogue import Column, ColumnType, ReportType

Value = str | int | Decimal | date | datetime | bool | None
"""What a cell may hold; None is NULL."""

Row = Sequence[Value]
"""A value for each of the report type's columns, in their order."""

TextRow = Sequence[str | None]
"""A row as text, None where NULL."""

_DIGITS: Final = 200_000
"""More than PostgreSQL's numeric has, so that rounding to a scale never rounds anything else."""


class TextRows:
    """Turns rows of a report type's values into text, and refuses what isn't as declared."""

    def __init__(self, report_type: ReportType) -> None:
        self._type = report_type
        self._writers = [(_writer(column), column) for column in report_type.columns]

    def of(self, rows: Sequence[Row]) -> list[TextRow]:
        """Give the text of each row.

        Raises `ReportError` for a row of another length and for a value of another type: a float
        above all, whose digits aren't those that were meant.
        """
        return [self._text(row) for row in rows]

    def _text(self, row: Row) -> TextRow:
        if len(row) != len(self._writers):
            raise declared_wrongly(
                self._type.name,
                f"it has {len(self._writers)} columns, and a row has {len(row)} values",
            )
        return [
            None if value is None else self._cell(writer, column, value)
            for (writer, column), value in zip(self._writers, row, strict=True)
        ]

    def _cell(self, write: "_Writer", column: Column, value: Value) -> str:
        try:
            return write(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise declared_wrongly(
                self._type.name,
                f"column {column.name} is declared {column.type}, and a row has"
                f" {type(value).__name__} there: {error}",
            ) from error


_Writer = Callable[[Value], str]


def _writer(column: Column) -> _Writer:
    write = _WRITERS[column.type]
    if column.scale is None:
        return write
    exponent = Decimal(1).scaleb(-column.scale)
    return lambda value: write(_rounded(value, exponent))


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError("text is given as str")
    return storable(value)


def _integer(value: Value) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("an integer is given as int")
    return str(value)


def _decimal(value: Value) -> str:
    """Write all digits without an exponent; there is no negative zero, and one kind of NaN."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, Decimal):
        raise TypeError("a decimal is given as Decimal or int")
    if value.is_nan():
        return "NaN"
    text = f"{value:f}"
    return text if value or not text.startswith("-") else text[1:]


def _rounded(value: Value, exponent: Decimal) -> Value:
    """Round half away from zero, as PostgreSQL does."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return value
    number = Decimal(value)
    if not number.is_finite():
        return number
    with localcontext(prec=_DIGITS):
        return number.quantize(exponent, rounding=ROUND_HALF_UP)


def _date(value: Value) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError("a date is given as date")
    return value.isoformat()


def _timestamp(value: Value) -> str:
    """Write the time in UTC, its fraction without zeros at the end; naive times are UTC."""
    if not isinstance(value, datetime):
        raise TypeError("a timestamp is given as datetime")
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    text = value.isoformat()
    return (text.rstrip("0") if value.microsecond else text) + "+00:00"


def _boolean(value: Value) -> str:
    if not isinstance(value, bool):
        raise TypeError("a boolean is given as bool")
    return "true" if value else "false"


_WRITERS: Final[dict[ColumnType, _Writer]] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer,
    ColumnType.DECIMAL: _decimal,
    ColumnType.DATE: _date,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.BOOLEAN: _boolean,
}
