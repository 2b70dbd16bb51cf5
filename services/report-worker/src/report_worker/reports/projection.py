"""The SQL around an operator's query: every declared column as one format writes it."""

from collections.abc import Sequence

from shared.catalogue import Column, ColumnType, ReportType


def csv_query(report_type: ReportType, query: str) -> str:
    """All columns as the text that stands in a CSV cell, but for what a spreadsheet would run."""
    return _select([_named(_csv_cell(column), column) for column in report_type.columns], query)


def json_query(report_type: ReportType, query: str) -> str:
    """One column: each row as a JSON object, its numbers with all their digits."""
    values = [_named(_json_value(column), column) for column in report_type.columns]
    objects = _select(values, query)
    return f"SELECT row_to_json(object) FROM ({objects}) AS object"  # noqa: S608 - operator's SQL


def text_query(report_type: ReportType, query: str, *, limit: int) -> str:
    """All columns as text, times as JSON writes them, for at most `limit` rows."""
    values = [_named(f"({_text(column)})::text", column) for column in report_type.columns]
    return f"{_select(values, query)} LIMIT {limit}"


def _select(values: Sequence[str], query: str) -> str:
    # The line breaks keep a comment at the query's end to itself. PostgreSQL hands a subquery's
    # rows on in the subquery's own order.
    return f"SELECT {', '.join(values)} FROM (\n{query}\n) AS report"  # noqa: S608 - operator's SQL


def _csv_cell(column: Column) -> str:
    """Times are left to COPY: any other text of them costs a fifth of the whole export."""
    if column.type is ColumnType.BOOLEAN:
        return f"{_quoted(column)}::text"
    return _json_value(column)


def _text(column: Column) -> str:
    if column.type is ColumnType.TIMESTAMP:
        return _iso_time(f"{_quoted(column)}::timestamptz")
    return _csv_cell(column)


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


def _named(value: str, column: Column) -> str:
    return f"{value} AS {_quoted(column)}"
