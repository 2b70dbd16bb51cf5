"""Waiting for what can't tell us: other processes, servers that start, files that others lock."""

import asyncio
from collections.abc import Awaitable, Callable


async def poll_until(
    condition: Callable[[], Awaitable[bool]], *, seconds: float, interval: float = 0.05
) -> None:
    """Return when `condition` holds, asked every `interval` seconds.

    Raises:
        TimeoutError: where it doesn't within `seconds`.

    """
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - nothing outside could set an event
            await asyncio.sleep(interval)
