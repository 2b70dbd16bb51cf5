"""Whether a query's columns are what its report type declares."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.catalogue import Column, ColumnType

# What each declared type may come from; text takes anything.
_ACCEPTED_TYPES = {
    ColumnType.INTEGER: {"int2", "int4", "int8"},
    ColumnType.DECIMAL: {"numeric", "int2", "int4", "int8"},
    ColumnType.DATE: {"date"},
    ColumnType.TIMESTAMP: {"timestamptz", "timestamp"},
    ColumnType.BOOLEAN: {"bool"},
}


@dataclass(frozen=True, slots=True)
class ColumnMistake:
    """A declared column, by its place, that the query doesn't give as declared."""

    index: int
    reason: str


def column_mistakes(
    declared: Sequence[Column], found: Mapping[str, str]
) -> Iterator[ColumnMistake]:
    """Hold declared columns against a query's: name -> name of the PostgreSQL type."""
    for index, column in enumerate(declared):
        if column.name not in found:
            yield ColumnMistake(index, f"the query has no column {column.name}")
            continue
        accepted = _ACCEPTED_TYPES.get(column.type)
        if accepted is not None and found[column.name] not in accepted:
            yield ColumnMistake(
                index,
                f"column {column.name} is declared {column.type}, and the query gives"
                f" {found[column.name]}",
            )
