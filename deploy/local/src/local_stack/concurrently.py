"""Steps that run side by side, where the first one to fail is the one that people hear of."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def concurrently(*steps: Coroutine[Any, Any, None]) -> None:
    """Run the steps at the same time; where one fails, stop the others and raise its error."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
