"""Batching by backpressure."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.batching import Batches


class Table:
    """Notes what each call was given; a call waits until it is let through."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.is_called = asyncio.Event()
        self.gate = asyncio.Event()

    async def squares(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        self.is_called.set()
        await self.gate.wait()
        if 13 in numbers:
            raise ConnectionError
        return [number * number for number in numbers]


async def test_what_arrives_during_a_call_shares_the_next_one() -> None:
    table = Table()
    batches = Batches(table.squares)
    first = asyncio.create_task(batches.ask(1))
    await table.is_called.wait()
    others = [asyncio.create_task(batches.ask(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    table.gate.set()
    assert await asyncio.gather(first, *others) == [1, 4, 9, 16]
    assert table.calls == [[1], [2, 3, 4]]


async def test_a_failure_is_that_of_its_round_alone() -> None:
    table = Table()
    table.gate.set()
    batches = Batches(table.squares)
    with pytest.raises(ConnectionError):
        await batches.ask(13)
    assert await batches.ask(5) == 25


async def test_a_caller_that_leaves_does_not_disturb_the_others() -> None:
    table = Table()
    batches = Batches(table.squares)
    leaves, stays = (asyncio.create_task(batches.ask(number)) for number in (2, 3))
    await table.is_called.wait()
    leaves.cancel()
    table.gate.set()
    assert await stays == 9
    assert leaves.cancelled() or leaves.cancelling()


async def test_no_round_is_larger_than_the_database_likes() -> None:
    table = Table()
    table.gate.set()
    batches = Batches(table.squares)
    await asyncio.gather(*(batches.ask(number) for number in range(14, 514)))
    assert max(map(len, table.calls)) == 200
