"""Whether the queries of the catalogue run against a database, and give the declared columns."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import asyncpg

from report_worker.reports.columns import column_mistakes
from report_worker.reports.errors import from_source_error
from report_worker.reports.source import SOURCE_ERRORS, column_types, open_session
from shared.catalogue import CatalogueFile, Mistake
from shared.report_request import DateRange

_CONNECT_SECONDS: Final = 10.0
_STATEMENT_SECONDS: Final = 30.0
_ANY_DATES: Final = DateRange(from_date=date(2000, 1, 1), to_date=date(2000, 1, 1))


class SourceUnreachableError(ConnectionError):
    """A database that queries were to be checked against can't be asked."""


async def query_mistakes(
    files: Sequence[CatalogueFile], sources: Mapping[str, str]
) -> list[Mistake]:
    """Prepare, but don't run, each query whose source is among those given (name -> URL).

    Raises `SourceUnreachableError`.
    """
    mistakes: list[Mistake] = []
    for name, dsn in sources.items():
        try:
            for file in (one for one in files if one.report_type.source == name):
                async with open_session(
                    dsn, statement_limit=_STATEMENT_SECONDS, connect_limit=_CONNECT_SECONDS
                ) as connection:
                    mistakes += await _mistakes(file, connection)
        except SOURCE_ERRORS as error:
            # The class alone where the text may name hosts or users.
            raise SourceUnreachableError(f"source {name}: {type(error).__name__}") from error
    return mistakes


async def _mistakes(file: CatalogueFile, connection: asyncpg.Connection) -> list[Mistake]:
    report_type = file.report_type
    bindings = report_type.declared_parameters.bindings({}, _ANY_DATES)
    query = report_type.query.render(
        {name: f"NULL::{binding.type_name}" for name, binding in bindings.items()}
    )
    try:
        found = await column_types(connection, query)
    except asyncpg.PostgresError as error:
        if from_source_error(error, ran_seconds=0, limit_seconds=_STATEMENT_SECONDS).transient:
            raise
        return [_refused(file, error, query)]
    return [
        file.mistake(("columns", one.index), one.reason)
        for one in column_mistakes(report_type.columns, found)
    ]


def _refused(file: CatalogueFile, error: asyncpg.PostgresError, query: str) -> Mistake:
    """Tell where in the SQL the database found its fault; the values there add no lines."""
    position: str | None = getattr(error, "position", None)
    line = query.count("\n", 0, int(position) - 1) + 1 if position else None
    return file.mistake(("sql",), str(error), text_line=line)
