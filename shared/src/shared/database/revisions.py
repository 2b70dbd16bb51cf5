"""Which revision a service's schema has to be at, and which one it is at.

Apart from the migrations, because a service asks for both at its start, and Alembic with all that
it brings would be a third of that start.
"""

import re
from pathlib import Path
from typing import Final

from shared.database.pool import Database

VERSION_TABLE: Final = "alembic_version"

_FILE: Final = re.compile(r"([0-9]{4})_[a-z0-9_]+\.py")


def head(directory: Path) -> str:
    """Return the newest revision under `directory`/versions, whose files begin with their number.

    Raises:
        LookupError: where there is none.

    """
    files = (_FILE.fullmatch(path.name) for path in (directory / "versions").iterdir())
    numbers = [found[1] for found in files if found]
    if not numbers:
        raise LookupError(f"no migrations in {directory}")
    return max(numbers)


async def current(database: Database) -> str | None:
    """Return the revision that the service's own schema is at."""
    async with database.connection() as conn:
        version: str | None = await conn.fetchval(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
    return version
