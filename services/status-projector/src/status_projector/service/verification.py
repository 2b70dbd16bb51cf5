"""Checks that the read model is the fold of the log, while both go on moving.

One snapshot of the database gives rows and positions that belong together: the rows must be the
fold of exactly the records before those positions. Everything is held in memory, about 4 KB a job.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from aiokafka import TopicPartition

from shared.bus.stored_log import StoredLog
from shared.database import positions
from shared.database.pool import Database
from shared.job_id import JobId, earliest
from status_projector import store
from status_projector.domain import AnyState, JobState, join_all
from status_projector.service.replay import replay

_LOOK_EVERY: Final = 0.2

Positions = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found."""

    events: int
    """Events that were folded."""
    jobs: int
    """Jobs that the log, the read model or both know."""
    differing: tuple[str, ...]
    """Ids of jobs whose row isn't what the log says, is missing or shouldn't be there; sorted."""
    behind: int
    """Records that were in the log when the check began and had not been folded in time."""

    @property
    def is_good(self) -> bool:
        """Whether the read model is the fold of the whole log as it was when the check began."""
        return not self.differing and not self.behind


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Positions and rows that belong together, purged jobs left out."""

    reached: Positions
    first_kept: JobId
    states: dict[str, AnyState]


async def verify(
    database: Database, log: StoredLog, *, requests_topic: str, wait: float
) -> Verdict:
    """Give the projector `wait` seconds to reach the present end of the log, then compare.

    Raises:
        BusUnavailableError: where the broker doesn't answer in time.

    """
    topics = sorted({partition.topic for partition in log.partitions})
    ends = {partition: span.stop for partition, span in (await log.bounds()).items()}
    await _wait_until_reached(database, topics, ends, seconds=wait)
    snapshot = await _snapshot(database, topics)
    events, expected = await _fold(log, snapshot, requests_topic)
    return Verdict(
        events=events,
        jobs=len(expected.keys() | snapshot.states.keys()),
        differing=differing(expected, snapshot.states),
        behind=_behind(snapshot.reached, ends),
    )


def differing(expected: Mapping[str, AnyState], actual: Mapping[str, AnyState]) -> tuple[str, ...]:
    """Return the sorted ids of the jobs whose states differ or that only one side knows."""
    return tuple(
        sorted(
            job_id
            for job_id in expected.keys() | actual.keys()
            if _comparable(expected.get(job_id)) != _comparable(actual.get(job_id))
        )
    )


async def _wait_until_reached(
    database: Database, topics: list[str], ends: Positions, *, seconds: float
) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                async with database.connection() as conn:
                    stored = await positions.load(conn, topics)
                if not _behind(stored, ends):
                    return
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        return  # the verdict tells how far behind it is


def _behind(stored: Positions, ends: Positions) -> int:
    return sum(max(0, end - stored.get(partition, 0)) for partition, end in ends.items())


async def _snapshot(database: Database, topics: list[str]) -> _Snapshot:
    async with (
        database.connection() as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        reached = await positions.load(conn, topics)
        first_kept = earliest(await store.watermark(conn))
        states = {
            state.job_id: state
            async for state in store.read_all(conn)
            if state.job_id >= first_kept  # the others are to be deleted any moment
        }
        return _Snapshot(reached, first_kept, states)


async def _fold(
    log: StoredLog, snapshot: _Snapshot, requests_topic: str
) -> tuple[int, dict[str, AnyState]]:
    states: dict[str, AnyState] = {}
    count = 0
    spans = {
        partition: range(span.start, min(span.stop, snapshot.reached.get(partition, 0)))
        for partition, span in (await log.bounds()).items()
    }
    async for chunk in replay(log, spans, requests_topic):
        kept = [logged for logged in chunk if logged[0].job_id >= snapshot.first_kept]
        join_all(states, kept)
        count += len(kept)
    return count, states


def _comparable(state: AnyState | None) -> Any:
    """Take the request for what its JSON says: PostgreSQL spells numbers and spaces its own way."""
    if not isinstance(state, JobState) or state.description.request is None:
        return state
    request = json.loads(state.description.request, parse_int=Decimal, parse_float=Decimal)
    return replace(state, description=replace(state.description, request=None)), request
