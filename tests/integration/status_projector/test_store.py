"""The upsert in SQL is the join in Python, row by row, and writes nothing that isn't newer."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.database.pool import Database
from shared.events import AnyJobEvent, RequestedDateRange, RequestedReport
from status_projector import store
from status_projector.domain import JobState, fold
from tests.support.job_histories import (
    JobHistory,
    any_events,
    batched,
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
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def stored(database: Database) -> dict[str, JobState]:
    async with database.transaction() as conn:
        return {state.job_id: state async for state in store.read_all(conn)}


async def empty(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("DELETE FROM jobs")


async def upsert(database: Database, events: list[AnyJobEvent]) -> list[str]:
    async with database.transaction() as conn:
        return await store.upsert(conn, fold(events).values())


async def row_versions(database: Database) -> dict[str, int]:
    """Which transaction wrote each row."""
    async with database.connection() as conn:
        rows = await conn.fetch("SELECT job_id, xmin::text::bigint AS xmin FROM jobs")
        return {row["job_id"]: row["xmin"] for row in rows}


@many_examples
@given(data=st.data(), events=any_events)
async def test_any_events_in_any_batches_give_the_rows_of_the_fold(
    read_model: Database, data: st.DataObject, events: list[AnyJobEvent]
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
    events = [
        event
        for number in range(data.draw(st.integers(1, 4)))
        for event in data.draw(plausible_history(make_job_id(number)))
    ]
    await empty(read_model)
    for batch in data.draw(batched(events)):
        await upsert(read_model, batch)

    assert comparable(await stored(read_model)) == comparable(fold(events))


async def test_repeated_events_write_no_row_and_report_no_change(read_model: Database) -> None:
    history = JobHistory(make_job_id(1), REQUEST)
    events: list[AnyJobEvent] = [
        history.requested(),
        history.started(1),
        history.completed(1),
        history.delivered(1),
    ]
    assert await upsert(read_model, events) == [make_job_id(1)]
    before = await row_versions(read_model)

    for event in events:
        assert await upsert(read_model, [event]) == []

    assert await row_versions(read_model) == before


async def test_only_changed_jobs_are_reported(read_model: Database) -> None:
    one, two = (JobHistory(make_job_id(number), REQUEST) for number in (1, 2))
    await upsert(read_model, [one.requested(), two.completed(1)])

    assert await upsert(read_model, [one.started(1), two.started(1)]) == [make_job_id(1)]


async def test_no_states_are_no_statement(read_model: Database) -> None:
    assert await upsert(read_model, []) == []


@pytest.mark.parametrize("jobs", [1, 177, 178, 1000])
async def test_payload_names_the_jobs_where_they_fit(jobs: int) -> None:
    ids = [make_job_id(number) for number in range(jobs)]

    payload = store.payload(ids)

    assert payload.split() == (ids if jobs <= 177 else [])


def comparable(states: dict[str, JobState]) -> dict[str, tuple[JobState, Any]]:
    """Take the request as what its JSON says: PostgreSQL spells numbers and spaces its own way."""
    return {
        job_id: (
            replace(state, description=replace(state.description, request=None)),
            _meaning(state.description.request),
        )
        for job_id, state in states.items()
    }


def _meaning(text: str | None) -> Any:
    return text and json.loads(text, parse_int=Decimal, parse_float=Decimal)
