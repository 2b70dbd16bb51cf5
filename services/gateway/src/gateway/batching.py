"""One call on behalf of many callers, batched by backpressure."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

_LARGEST: Final = 200

Item = TypeVar("Item")
Result = TypeVar("Result")


class TooManyWaitError(TimeoutError):
    """So many wait for a round that one more would only wait in vain."""


class Batches(Generic[Item, Result]):
    """Each round takes what arrived while the last one ran; a single caller never waits.

    `call` returns one result per item, in their order. What it raises, all of its round get.
    Where it hangs, no more than `longest_queue` wait for the next round, none for longer than
    `timeout` seconds; whoever left before a round began isn't in it.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        longest_queue: int,
        timeout: float,
    ) -> None:
        self._call = call
        self._longest_queue = longest_queue
        self._timeout = timeout
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._rounds: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Result:
        """Return the result for one item.

        Raises:
            TimeoutError: where too many wait already, or this one has waited for too long.

        """
        if len(self._waiting) >= self._longest_queue:
            raise TooManyWaitError
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._run())
        async with asyncio.timeout(self._timeout):
            return await answer

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST], self._waiting[_LARGEST:]
            if still_waiting := [one for one in batch if not one[1].done()]:
                await self._round(still_waiting)
        self._rounds = None

    async def _round(self, batch: Sequence[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        try:
            results = await self._call([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - each caller raises it
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), result in zip(batch, results, strict=True):
            if not answer.done():
                answer.set_result(result)
