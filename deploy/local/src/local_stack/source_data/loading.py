"""Loading orders from a file into the demo's data source: all of it, or nothing."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_stack.source_data.connection import filling
from local_stack.source_data.orders import COLUMNS, Cell, CellError, header_problem, read_cell
from local_stack.source_data.records import DataFileError, Record, read_records

_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a file's orders."""

    added: int
    replaced: int

    @property
    def rows(self) -> int:
        """Orders in the file."""
        return self.added + self.replaced


async def load_orders(path: Path, dsn: str) -> Loaded:
    """Load a CSV file of orders, in one transaction and constant memory.

    An order that the data source has already is replaced by the file's, so that a corrected file
    can be loaded again; one that the file has twice is refused. Raises `DataFileError` with line
    and column for whatever is wrong with the file, and then nothing of it is loaded.
    """
    async with filling(str(dsn)) as connection:
        await connection.execute(_STAGING)
        await connection.copy_records_to_table(
            "incoming", records=_staged(path), columns=["line", *COLUMNS]
        )
        repeated = await connection.fetchrow(_REPEATED)
        if repeated is not None:
            raise _error(
                path,
                repeated["again"],
                f"order_id {_quoted(repeated['order_id'])} is on line {repeated['first']} already",
            )
        replaced = await connection.fetchval(_KNOWN)
        total = await connection.fetchval(_MERGE)
    return Loaded(added=total - replaced, replaced=replaced)


async def _staged(path: Path) -> AsyncIterator[tuple[Cell | int, ...]]:
    """Give the file's orders as rows of the staging table, checked."""
    for row in _checked(path, read_records(path)):
        yield row


def _checked(path: Path, records: Iterator[Record]) -> Iterator[tuple[Cell | int, ...]]:
    header = next(records, None)
    if header is None:
        raise DataFileError(f"{path}: is empty; its first line has to name the columns")
    names = header.cells
    problem = header_problem(names)
    if problem is not None:
        raise _error(path, header.line, problem)
    for record in records:
        if len(record.cells) != len(names):
            count = len(record.cells)
            raise _error(path, record.line, f"has {count} cells, the header {len(names)}")
        cells = dict(zip(names, _cells(path, record, names), strict=True))
        yield (record.line, *(cells.get(name) for name in COLUMNS))


def _cells(path: Path, record: Record, names: list[str]) -> Iterator[Cell]:
    for position, (name, text) in enumerate(zip(names, record.cells, strict=True), start=1):
        try:
            yield read_cell(name, text)
        except CellError as error:
            what = f"column {position} ({name}): {_quoted(text)} {error}"
            raise _error(path, record.line, what) from None


def _error(path: Path, line: int, reason: str) -> DataFileError:
    return DataFileError(f"{path}, line {line}: {reason}; nothing was loaded")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


_STAGING: Final = """
CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS
SELECT 0::bigint AS line, orders.* FROM shop.orders WITH NO DATA
"""

_REPEATED: Final = """
SELECT order_id, line AS again, first
FROM (
    SELECT order_id, line,
           first_value(line) OVER same AS first, row_number() OVER same AS occurrence
    FROM incoming
    WINDOW same AS (PARTITION BY order_id ORDER BY line)
) AS numbered
WHERE occurrence = 2
ORDER BY line
LIMIT 1
"""

_KNOWN: Final = "SELECT count(*) FROM incoming JOIN shop.orders USING (order_id)"

_NAMES: Final = ", ".join(COLUMNS)
_MERGE: Final = f"""
WITH merged AS (
    INSERT INTO shop.orders ({_NAMES})
    SELECT {_NAMES} FROM incoming
    ON CONFLICT (order_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "order_id")}
    RETURNING 1
)
SELECT count(*) FROM merged
"""  # noqa: S608 - made of constants
