"""The upsert in SQL is the join in Python, row by row, and writes nothing that isn't newer."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.database import positions
from shared.database.pool import Database
from shared.database.positions import Advance
from shared.events import RequestedDateRange, RequestedReport
from status_projector import store
from status_projector.domain import AnyState, JobState, LoggedEvent, Vector, fold
from tests.support.job_histories import (
    JobHistory,
    any_logged,
    batched,
    logged,
    make_job_id,
    plausible_history,
)

REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
)
# The fixtures are made once for all examples; each example begins by emptying the table.
many_examples = settings(
    deadline=None,
    max_examples=150,
    # A busy machine draws slowly.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def stored(database: Database) -> dict[str, AnyState]:
    async with database.transaction() as conn:
        return {state.job_id: state async for state in store.read_all(conn)}


async def empty(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("DELETE FROM jobs")


async def upsert(database: Database, events: list[LoggedEvent]) -> int:
    async with database.connection() as conn:
        return await store.fold(conn, fold(events).values(), {})


async def row_versions(database: Database) -> dict[str, int]:
    """Which transaction wrote each row."""
    async with database.connection() as conn:
        rows = await conn.fetch("SELECT job_id, xmin::text::bigint AS xmin FROM jobs")
        return {row["job_id"]: row["xmin"] for row in rows}


@many_examples
@given(data=st.data(), events=any_logged)
async def test_any_events_in_any_batches_give_the_rows_of_the_fold(
    read_model: Database, data: st.DataObject, events: list[LoggedEvent]
) -> None:
    await empty(read_model)
    for batch in data.draw(batched(events)):
        await upsert(read_model, batch)

    assert comparable(await stored(read_model)) == comparable(fold(events))


@many_examples
@given(data=st.data())
async def test_plausible_histories_in_any_batches_give_the_rows_of_the_fold(
    read_model: Database, data: st.DataObject
) -> None:
    events = logged(
        event
        for number in range(data.draw(st.integers(1, 4)))
        for event in data.draw(plausible_history(make_job_id(number)))
    )
    await empty(read_model)
    for batch in data.draw(batched(events)):
        await upsert(read_model, batch)

    assert comparable(await stored(read_model)) == comparable(fold(events))


async def test_events_that_are_read_again_write_no_row_and_report_no_change(
    read_model: Database,
) -> None:
    history = JobHistory(make_job_id(1), REQUEST)
    events = logged(
        [
            history.requested(),
            history.started(1),
            history.progressed(1, 1),
            history.cancel_requested(1),
            history.completed(1),
            history.delivered(1),
        ]
    )
    assert await upsert(read_model, events) == 1
    before = await row_versions(read_model)

    assert [await upsert(read_model, [event]) for event in events] == [0] * len(events)

    assert await row_versions(read_model) == before


async def test_event_that_comes_twice_advances_the_vector_alone(read_model: Database) -> None:
    history = JobHistory(make_job_id(1), REQUEST)
    await upsert(read_model, [(history.started(1), Vector(0, 3))])
    (once,) = (await stored(read_model)).values()

    assert await upsert(read_model, [(history.started(1), Vector(0, 8))]) == 1

    (twice,) = (await stored(read_model)).values()
    assert twice == replace(once, vector=Vector(0, 8))


async def test_nothing_of_what_was_asked_for_stays_in_a_tombstone(read_model: Database) -> None:
    history = JobHistory(make_job_id(1), REQUEST)
    deleted = history.delete_requested(1)
    await upsert(
        read_model,
        logged([history.requested(), history.cancel_requested(1), history.completed(1)]),
    )
    await upsert(read_model, [(deleted, Vector(4, 0))])
    await upsert(read_model, [(history.delivered(1), Vector(0, 5))])

    async with read_model.connection() as conn:
        row = await conn.fetchrow("SELECT * FROM jobs")

    assert row is not None
    assert {column: value for column, value in row.items() if value is not None} == {
        "job_id": make_job_id(1),
        "tenant": "default",
        "deleted_at": deleted.requested_at,
        "history": "{}",
        "requests_offset": 4,
        "events_offset": 5,
    }


async def test_no_events_still_move_the_positions(read_model: Database) -> None:
    partition = TopicPartition("events", 0)
    async with read_model.connection() as conn:
        assert await store.fold(conn, [], {partition: Advance(follows=0, next_offset=5)}) == 0

        assert await positions.load(conn, ["events"]) == {partition: 5}


async def test_nothing_is_folded_on_positions_that_the_database_lost(read_model: Database) -> None:
    history = JobHistory(make_job_id(1), REQUEST)
    progress = {TopicPartition("events", 0): Advance(follows=3, next_offset=5)}

    async with read_model.connection() as conn:
        with pytest.raises(positions.PositionsLostError, match="events/0"):
            await store.fold(conn, fold(logged([history.started(1)])).values(), progress)

    assert await stored(read_model) == {}


@pytest.mark.parametrize("jobs", [1, 177, 178, 500])
async def test_listeners_are_told_of_the_changed_jobs_where_their_ids_fit(
    read_model: Database, jobs: int
) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    ids = [make_job_id(number) for number in range(jobs)]
    known = JobHistory(make_job_id(jobs), REQUEST)
    await upsert(read_model, logged([known.requested()]))
    async with read_model.connection() as conn:
        await conn.add_listener(
            store.CHANGED_CHANNEL, lambda *notice: told.put_nowait(str(notice[3]))
        )

        await upsert(
            read_model,
            [
                (known.requested(), Vector(1, 1)),
                *((JobHistory(job_id, REQUEST).requested(), Vector(2, 0)) for job_id in ids),
            ],
        )

        async with asyncio.timeout(30):
            assert (await told.get()).split() == (ids if jobs <= 177 else [])
        await conn.reset()


def comparable(states: dict[str, AnyState]) -> dict[str, Any]:
    """Take the request as what its JSON says: PostgreSQL spells numbers and spaces its own way."""
    return {
        job_id: (
            replace(state, description=replace(state.description, request=None)),
            _meaning(state.description.request),
        )
        if isinstance(state, JobState)
        else state
        for job_id, state in states.items()
    }


def _meaning(text: str | None) -> Any:
    return text and json.loads(text, parse_int=Decimal, parse_float=Decimal)
