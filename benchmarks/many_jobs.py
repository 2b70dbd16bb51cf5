"""Puts a great many jobs into a read model: first the rows, then their indexes."""

from typing import Any, Final

import asyncpg

MANY: Final = 1_000_000

_INDEXES: Final = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'read_model' AND tablename = 'jobs' AND indexname <> 'jobs_pkey'
"""
# Rows and indexes are the same as with a log of their changes, which only a crash would ask for.
_PREPARE: Final = """
SET maintenance_work_mem = '512MB';
ALTER TABLE read_model.jobs SET UNLOGGED
"""


async def fill(
    connection: "asyncpg.Connection[asyncpg.Record]", insert: str, *arguments: Any
) -> None:
    """Run an INSERT into `read_model.jobs` as the administrator, where it costs the least.

    It has to insert in the order of the ids. Afterwards the table has the indexes that it had,
    and statistics and a visibility map as autovacuum makes them.
    """
    indexes = await connection.fetch(_INDEXES)
    await connection.execute(_PREPARE)
    for index in indexes:
        await connection.execute(f"DROP INDEX read_model.{index['indexname']}")
    await connection.execute(insert, *arguments)
    for index in indexes:
        await connection.execute(index["indexdef"])
    await connection.execute("VACUUM (ANALYZE) read_model.jobs")
