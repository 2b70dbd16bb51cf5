"""Batching by backpressure."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.batching import Batches, TooManyWaitError


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


def batches_of(table: Table, longest_queue: int = 1000, timeout: float = 60) -> Batches[int, int]:
    return Batches(table.squares, longest_queue=longest_queue, timeout=timeout)


async def test_what_arrives_during_a_call_shares_the_next_one() -> None:
    table = Table()
    batches = batches_of(table)
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
    batches = batches_of(table)
    with pytest.raises(ConnectionError):
        await batches.ask(13)
    assert await batches.ask(5) == 25


async def test_a_caller_that_leaves_does_not_disturb_the_others() -> None:
    table = Table()
    batches = batches_of(table)
    leaves, stays = (asyncio.create_task(batches.ask(number)) for number in (2, 3))
    await table.is_called.wait()
    leaves.cancel()
    table.gate.set()
    assert await stays == 9
    assert leaves.cancelled() or leaves.cancelling()


async def test_no_round_is_larger_than_the_database_likes() -> None:
    table = Table()
    table.gate.set()
    batches = batches_of(table)
    await asyncio.gather(*(batches.ask(number) for number in range(14, 514)))
    assert max(map(len, table.calls)) == 200


async def test_while_a_call_hangs_so_many_wait_and_no_more() -> None:
    table = Table()
    batches = batches_of(table, longest_queue=2)
    first = asyncio.create_task(batches.ask(1))
    await table.is_called.wait()
    others = [asyncio.create_task(batches.ask(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaitError):
        await batches.ask(4)
    table.gate.set()
    assert await asyncio.gather(first, *others) == [1, 4, 9]
    assert await batches.ask(4) == 16


async def test_nobody_waits_for_longer_than_the_time_limit_and_who_left_is_not_asked_for() -> None:
    table = Table()
    batches = batches_of(table, timeout=0.01)
    first = asyncio.create_task(batches.ask(1))
    await table.is_called.wait()
    for waiting in (first, batches.ask(2), batches.ask(3)):
        with pytest.raises(TimeoutError):
            await waiting
    batches._timeout = 60
    table.gate.set()
    assert await batches.ask(4) == 16
    assert table.calls == [[1], [4]]
