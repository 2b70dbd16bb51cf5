"""What has outlived its retention goes, after the watermark that says so, and doesn't come back."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.database.pool import Database
from shared.database.purging import PurgeRules
from shared.events import AnyJobEvent, ReceivedEvent, RequestedDateRange, RequestedReport
from shared.job_id import JobIds
from shared.keyring import KeyRing
from status_projector import store
from status_projector.service import Projector, Purger
from tests.support.job_histories import JobHistory

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
RETENTION = timedelta(days=7)
RULES = PurgeRules(RETENTION, batch=2, pause=0)
REQUESTS = "requests"
REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
)


def job(age: timedelta, number: int = 0) -> str:
    keys = KeyRing(signing_number=1, keys={1: bytes(32)})
    return JobIds(keys, lambda: NOW - age, number.to_bytes).new("default")


OLD = [job(RETENTION + timedelta(seconds=1), number) for number in range(5)]
YOUNG = job(RETENTION - timedelta(seconds=1))


@pytest.fixture
def projector(read_model: Database) -> Projector:
    return Projector(read_model, REQUESTS)


async def project(projector: Projector, *events: AnyJobEvent) -> int:
    received = (ReceivedEvent(event, "", "", None, REQUESTS, 0) for event in events)
    return await projector.project(received, {})


def requested(job_id: str) -> AnyJobEvent:
    return JobHistory(job_id, REQUEST).requested()


async def ids(database: Database) -> list[str]:
    async with database.connection() as conn:
        return [r["job_id"] for r in await conn.fetch("SELECT job_id FROM jobs ORDER BY job_id")]


async def test_rows_older_than_the_retention_are_deleted_batch_by_batch(
    read_model: Database, projector: Projector
) -> None:
    await project(projector, *map(requested, [*OLD, YOUNG]))

    assert await Purger(read_model, projector, RULES, lambda: NOW).purge() == len(OLD)

    assert await ids(read_model) == [YOUNG]
    async with read_model.connection() as conn:
        assert await store.watermark(conn) == NOW - RETENTION


async def test_tombstones_are_purged_as_well(read_model: Database, projector: Projector) -> None:
    await project(projector, JobHistory(OLD[0], REQUEST).delete_requested(1))

    assert await Purger(read_model, projector, RULES, lambda: NOW).purge() == 1


async def test_watermark_never_goes_back(read_model: Database, projector: Projector) -> None:
    await Purger(read_model, projector, RULES, lambda: NOW).purge()
    await project(projector, requested(YOUNG))

    longer = PurgeRules(RETENTION * 2, batch=2, pause=0)
    await Purger(read_model, projector, longer, lambda: NOW).purge()

    async with read_model.connection() as conn:
        assert await store.watermark(conn) == NOW - RETENTION
    assert await project(projector, requested(OLD[0]), requested(YOUNG)) == 0


async def test_purged_job_is_not_brought_back_by_its_events(
    read_model: Database, projector: Projector
) -> None:
    await Purger(read_model, projector, RULES, lambda: NOW).purge()

    for replaying in (projector, Projector(read_model, REQUESTS)):
        await project(replaying, requested(OLD[0]), requested(YOUNG))

    assert await ids(read_model) == [YOUNG]


async def test_row_that_another_projector_brought_back_goes_with_the_next_round(
    read_model: Database, projector: Projector
) -> None:
    other = Projector(read_model, REQUESTS)
    await project(other)  # it takes note of a watermark that then moves on
    purger = Purger(read_model, projector, RULES, lambda: NOW)
    await purger.purge()
    await project(other, requested(OLD[0]))

    assert await purger.purge() == 1

    assert await ids(read_model) == []
