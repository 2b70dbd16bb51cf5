"""The SQL around an operator's query: every declared column as one format writes it."""

from collections.abc import Sequence

from report_worker.reports.cells import FORMULA_STARTS
from shared.catalogue import Column, ColumnType, ReportType

_FORMULA_STARTS = ", ".join(str(ord(character)) for character in FORMULA_STARTS)

_LAST_FORMULA_START = max(map(ord, FORMULA_STARTS))


def csv_query(report_type: ReportType, query: str) -> str:
    """All columns as the text that stands in a CSV cell."""
    defuse = report_type.defuse_formulas
    return _select([_csv_cell(column, defuse=defuse) for column in report_type.columns], query)


def json_query(report_type: ReportType, query: str) -> str:
    """One column: each row as a JSON object, its numbers with all their digits."""
    values = [f"{_json_value(column)} AS {_quoted(column)}" for column in report_type.columns]
    objects = _select(values, query)
    return f"SELECT row_to_json(object) FROM ({objects}) AS object"  # noqa: S608 - operator's SQL


def text_query(report_type: ReportType, query: str, *, limit: int) -> str:
    """All columns as text, for at most `limit` rows."""
    values = [
        f"({_csv_cell(column, defuse=False, name=False)})::text AS {_quoted(column)}"
        for column in report_type.columns
    ]
    return f"{_select(values, query)} LIMIT {limit}"


def _select(values: Sequence[str], query: str) -> str:
    # The line breaks keep a comment at the query's end to itself. PostgreSQL hands a subquery's
    # rows on in the subquery's own order.
    return f"SELECT {', '.join(values)} FROM (\n{query}\n) AS report"  # noqa: S608 - operator's SQL


def _csv_cell(column: Column, *, defuse: bool, name: bool = True) -> str:
    value = _quoted(column)
    match column.type:
        case ColumnType.TEXT:
            cell = f"{value}::text"
            if defuse:
                # Most text begins with a letter, for which one comparison is enough.
                cell = (
                    f"CASE WHEN ascii({cell}) > {_LAST_FORMULA_START} THEN {cell}"
                    f" WHEN ascii({cell}) IN ({_FORMULA_STARTS}) THEN '''' || {cell}"
                    f" ELSE {cell} END"
                )
        case ColumnType.BOOLEAN:
            cell = f"{value}::text"
        case ColumnType.TIMESTAMP:
            cell = _iso_time(f"{value}::timestamptz")
        case ColumnType.INTEGER | ColumnType.DECIMAL | ColumnType.DATE:
            cell = _json_value(column)
    return f"{cell} AS {value}" if name else cell


def _iso_time(value: str) -> str:
    """Write the time as JSON does, `2024-01-31T13:45:00.5+00:00`.

    The session's settings write an ordinary one with a blank and without minutes of the zone, and
    mending that costs half of what taking it out of a JSON value does. Infinity and the years
    before Christ are written otherwise.
    """
    is_ordinary = f"{value} >= '0001-01-01 00:00:00+00' AND {value} < 'infinity'"
    return (
        f"CASE WHEN {is_ordinary} THEN replace({value}::text, ' ', 'T') || ':00'"
        f" ELSE to_json({value}) #>> '{{}}' END"
    )


def _json_value(column: Column) -> str:
    value = _quoted(column)
    match column.type:
        case ColumnType.TEXT:
            return f"{value}::text"
        case ColumnType.TIMESTAMP:
            return f"{value}::timestamptz"
        case ColumnType.DECIMAL if column.scale is not None:
            return f"round({value}::numeric, {column.scale})"
        case ColumnType.INTEGER | ColumnType.DECIMAL | ColumnType.DATE | ColumnType.BOOLEAN:
            return value


def _quoted(column: Column) -> str:
    return f'"{column.name}"'
