"""Wakes who waits for a NOTIFY, over one connection for all channels."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import asyncpg
import structlog

from shared.backoff import Backoff
from shared.database.pool import PASSING_ERRORS
from shared.settings import DatabaseSettings

_PROBE_EVERY: Final = 15.0
_log = structlog.get_logger()

Wake: TypeAlias = Callable[[str], None]
"""Takes the payload of a notification."""
Channels: TypeAlias = Mapping[str, Wake]
"""What is to be woken by each channel."""


async def listen(settings: DatabaseSettings, *, service: str, channels: Channels) -> None:
    """Give the payload of every notification to what its channel wakes, for ever.

    After each connect each is called once with an empty payload, because notifications may have
    been missed. The connection is proven alive every 15 seconds, and made anew with backoff.
    """
    backoff = Backoff(first=0.2, longest=10.0)
    retry = 0
    while True:
        try:
            connection = await asyncpg.connect(
                str(settings.database_url),
                timeout=settings.database_connect_timeout,
                command_timeout=settings.database_connect_timeout,
                server_settings={"application_name": f"{service}-listen"},
            )
            try:
                for channel, wake in channels.items():
                    await connection.add_listener(channel, _listener(wake))
                for wake in channels.values():
                    wake("")
                retry = 0
                await _until_closed(connection)
            finally:
                connection.terminate()
        except PASSING_ERRORS as error:
            retry += 1
            _log.warning(
                "listening interrupted", channels=list(channels), error=type(error).__name__
            )
            await asyncio.sleep(backoff.delay(retry))


def _listener(wake: Wake) -> Callable[..., None]:
    return lambda _connection, _pid, _channel, payload: wake(payload)


async def _until_closed(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Raise OSError, or what the probe raises, as soon as the connection is of no more use."""
    closed = asyncio.Event()
    connection.add_termination_listener(lambda _: closed.set())
    while not closed.is_set():
        try:
            async with asyncio.timeout(_PROBE_EVERY):
                await closed.wait()
        except TimeoutError:
            await connection.execute("SELECT 1")
    raise ConnectionError("the server closed the connection")
