"""Batches: folded in one call, and told of in metrics."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry

from shared.bus import Batch
from shared.database.positions import Advance, Progress
from shared.events import AnyJobEvent, ReceivedEvent, RequestedDateRange, RequestedReport
from status_projector.handlers import EventsHandler, lag_seconds
from status_projector.metrics import ProjectorMetrics
from status_projector.service import Projector
from tests.support.job_histories import JobHistory, make_job_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROGRESS = {TopicPartition("events", 0): Advance(follows=3, next_offset=5)}
HISTORY = JobHistory(
    make_job_id(1),
    RequestedReport(
        report_type="ORDERS_SUMMARY",
        date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
        format="CSV",
    ),
)


class KnownProjector(Projector):
    """Remembers what it was given; the database may be away."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.projected: list[tuple[list[ReceivedEvent], Progress]] = []
        self._is_away = is_away

    async def project(self, events: Iterable[ReceivedEvent], progress: Progress) -> int:
        if self._is_away:
            raise ConnectionError("away")
        self.projected.append((list(events), progress))
        return 1


def received(event: AnyJobEvent, time: str) -> ReceivedEvent:
    return ReceivedEvent(event=event, event_id="", time=time, traceparent=None)


def at(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat()


BATCH = Batch(
    events=[received(HISTORY.requested(), at(9)), received(HISTORY.started(1), at(2))],
    invalid=[],
    progress=PROGRESS,
)


async def test_batch_is_folded_with_its_progress_and_measured() -> None:
    projector, registry = KnownProjector(), CollectorRegistry()

    await EventsHandler(projector, ProjectorMetrics(registry), lambda: NOW).handle(BATCH)

    assert projector.projected == [(BATCH.events, PROGRESS)]
    assert registry.get_sample_value("report_jobs_projector_batch_events_sum") == 2
    assert registry.get_sample_value("report_jobs_projector_changed_total") == 1
    assert registry.get_sample_value("report_jobs_projector_lag_seconds_sum") == 9


async def test_database_that_is_away_is_the_readers_to_wait_for() -> None:
    registry = CollectorRegistry()
    handler = EventsHandler(KnownProjector(is_away=True), ProjectorMetrics(registry), lambda: NOW)

    with pytest.raises(ConnectionError):
        await handler.handle(BATCH)

    assert registry.get_sample_value("report_jobs_projector_batch_events_count") == 0


@pytest.mark.parametrize(
    ("times", "lag"),
    [
        ([], None),
        ([at(3), at(7.5), at(1)], 7.5),
        ([at(-5)], 0.0),
        (["", "yesterday", "2026-03-01T11:59:59"], None),
        (["", at(4), "soon"], 4.0),
    ],
    ids=["nothing", "oldest counts", "clock ahead", "unreadable", "unreadable beside readable"],
)
def test_lag_is_the_age_of_the_oldest_event_with_a_readable_time(
    times: list[str], lag: float | None
) -> None:
    events = [received(HISTORY.started(1), time) for time in times]

    assert lag_seconds(events, NOW) == pytest.approx(lag)
