"""Positions go with the effects, never back, and never past effects that a database lost."""

import pytest
from aiokafka import TopicPartition

from shared.database import positions
from shared.database.positions import Advance, PositionsLostError, Progress
from tests.integration.shared.conftest import Effects

ONE, TWO = TopicPartition("topic", 0), TopicPartition("topic", 1)


async def save(effects: Effects, progress: Progress) -> None:
    async with effects.database.transaction() as conn:
        await positions.save(conn, progress)


async def test_first_position_of_a_partition_is_stored(effects: Effects) -> None:
    await save(effects, {TWO: Advance(0, 7), ONE: Advance(0, 5)})

    assert await effects.positions() == {ONE: 5, TWO: 7}


async def test_position_advances(effects: Effects) -> None:
    await save(effects, {ONE: Advance(0, 5)})
    await save(effects, {ONE: Advance(5, 9)})

    assert await effects.positions() == {ONE: 9}


async def test_slow_former_owner_does_not_take_a_position_back(effects: Effects) -> None:
    await save(effects, {ONE: Advance(0, 9)})
    await save(effects, {ONE: Advance(0, 5)})

    assert await effects.positions() == {ONE: 9}


@pytest.mark.parametrize("stored", [{}, {ONE: Advance(0, 4)}])
async def test_position_that_follows_on_a_lost_one_is_refused(
    effects: Effects, stored: Progress
) -> None:
    await save(effects, stored)

    with pytest.raises(PositionsLostError, match="topic/0"):
        await save(effects, {ONE: Advance(5, 9), TWO: Advance(0, 3)})

    assert await effects.positions() == {
        partition: advance.next_offset for partition, advance in stored.items()
    }


async def test_rolled_back_effects_take_their_position_along(effects: Effects) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what is tested
        async with effects.database.transaction() as conn:
            await positions.save(conn, {ONE: Advance(0, 5)})
            raise ZeroDivisionError

    assert await effects.positions() == {}


async def test_positions_of_other_topics_are_not_loaded(effects: Effects) -> None:
    await save(effects, {ONE: Advance(0, 5), TopicPartition("other", 0): Advance(0, 3)})

    async with effects.database.connection() as conn:
        assert await positions.load(conn, ["topic", "unknown"]) == {ONE: 5}
