"""Runs a service: its background loops, its HTTP port, and the way both come to an end."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from starlette.types import ASGIApp

from shared.bus import BusConnection, LogReader
from shared.database import revisions
from shared.database.pool import Database
from shared.serving import run_server
from shared.settings import ServerSettings
from shared.telemetry.probes import Check

_YOUNG_OBJECTS: Final = 10_000
"""After so many new ones the garbage collector looks for cycles among them."""
_log = structlog.get_logger()


@asynccontextmanager
async def running(loops: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run background loops while the body runs.

    A loop that ends with an exception is a defect: it is logged and the process is asked to
    stop, because half a service that still answers its probes would hide it.
    """
    tasks = [asyncio.create_task(_watched(name, loop), name=name) for name, loop in loops.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_when_connected(connection: BusConnection, reader: LogReader) -> None:
    """Connect, read for ever, and on the way out tell Kafka how far the reader came."""
    await connection.connect()
    try:
        await reader.run()
    finally:
        await reader.commit()


def readiness_checks(
    database: Database, connection: BusConnection, reader: LogReader, *, revision: str
) -> dict[str, Check]:
    """Return what a service that reads the log depends on, by name."""

    async def reads() -> None:
        if not reader.is_reading:
            raise ConnectionError("no partitions are assigned yet")

    return {
        "database": lambda: require_revision(database, revision),
        "kafka": connection.ping,
        "assignment": reads,
    }


async def require_revision(database: Database, revision: str) -> None:
    """Raise unless the service's schema is at `revision`: its code knows no other."""
    found = await revisions.current(database)
    if found != revision:
        raise LookupError(f"schema revision is {found}, not {revision}")


def serve(app: ASGIApp, settings: ServerSettings) -> None:
    """Serve `app` until SIGTERM or SIGINT; its lifespan is the life of the service.

    After a clean end the process exits with status 0.
    """
    # What the imports made lives as long as the process: a full collection that walks through all
    # of it stops every request for a tenth of a second.
    gc.collect()
    gc.freeze()
    # What is young is mostly still in use: a few requests that are being answered have more objects
    # than the interpreter's own threshold, 700.
    gc.set_threshold(_YOUNG_OBJECTS)
    # uvicorn raises the signal again once all is closed, which would by default kill the process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run_server(app, settings)


async def _watched(name: str, loop: Coroutine[Any, Any, None]) -> None:
    try:
        await loop
    except Exception:
        _log.critical("background loop died", loop=name, exc_info=True)
        os.kill(os.getpid(), signal.SIGTERM)
        raise
