r"""The peer of the exports: `psql \copy` of the same SELECT over TCP to a file."""

import asyncio
import time
from pathlib import Path
from typing import Final

from benchmarks.errors import BenchmarkError
from local_stack.accounts import binaries

_SECONDS: Final = 300.0


async def copy_to_file(database: str, select: str, path: Path) -> float:
    """Copy the SELECT's rows as CSV; return the seconds it took, psql's start among them.

    Raises:
        BenchmarkError: where psql fails.

    """
    # \copy ends with its line, and a quote in the path would end the file's name.
    command = f"\\copy ({' '.join(select.split())}) TO '{path}' (FORMAT csv)"
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        binaries(None) / "psql", database, "--no-psqlrc", "--quiet", "--command", command,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PGTZ": "UTC"},
    )  # fmt: skip
    async with asyncio.timeout(_SECONDS):
        _, errors = await process.communicate()
    if process.returncode:
        raise BenchmarkError(f"psql failed: {errors.decode().strip()}")
    return time.perf_counter() - began
