"""What Kafka is told of a reader's progress when it doesn't always take it."""

import asyncio
from typing import cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from shared.backoff import Backoff
from shared.bus.bookmarks import Bookmarks
from shared.database.pool import Database
from shared.database.positions import Advance

ZERO, ONE = TopicPartition("events", 0), TopicPartition("events", 1)


class Group:
    """Stands for a consumer: takes commits, refuses them, or says nothing to them."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, int] = {}
        self.asked = 0
        self.refuses = False
        self.hangs = False

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.refuses:
            raise KafkaError
        self.committed |= offsets


def bookmarks(*, retry_after: float, call_timeout: float = 60.0) -> Bookmarks:
    return Bookmarks(
        cast("Database", None),  # nothing here is stored
        ["events"],
        "group",
        commit_every=1.0,
        check_every=1.0,
        call_timeout=call_timeout,
        commit_retry=Backoff(first=retry_after, longest=retry_after),
    )


async def test_a_refused_commit_goes_along_with_the_next_and_the_newest_offset_counts() -> None:
    group, marks = Group(), bookmarks(retry_after=0)
    group.refuses = True
    marks.note({ZERO: Advance(0, 5), ONE: Advance(0, 7)})
    await marks.commit(group)
    marks.note({ZERO: Advance(5, 9)})
    group.refuses = False
    await marks.commit(group)
    assert group.committed == {ZERO: 9, ONE: 7}
    await marks.commit(group)
    assert group.asked == 2


@pytest.mark.parametrize("trouble", ["refuses", "hangs"])
async def test_a_group_that_has_just_failed_holds_up_nothing_for_a_while(trouble: str) -> None:
    group, marks = Group(), bookmarks(retry_after=3600, call_timeout=0.01)
    setattr(group, trouble, True)
    marks.note({ZERO: Advance(0, 5)})
    await marks.commit(group)
    marks.note({ZERO: Advance(5, 9)})
    await marks.commit(group)
    assert group.asked == 1
