"""Jobs in real processes that are cancelled, deleted, take too long or wait too long."""

from datetime import timedelta
from itertools import pairwise

from shared.clock import utc_now
from shared.events import (
    CancelRequested,
    DeleteRequested,
    JobCompleted,
    JobFailed,
    JobProgressed,
    RetryRequested,
)
from shared.job_id import JobId
from tests.support.report_worker import BUSY, Gate, WorkerBench, eventually


async def test_a_cancelled_job_and_its_query_stop_before_the_next_beat(
    bench: WorkerBench, gate: Gate
) -> None:
    await bench.start_worker(beat="600", lease="1800", database_connect_timeout="10", slots="1")
    job = await bench.submit("GATED")
    await gate.wait_for(1)
    asked_at = utc_now()
    await bench.ask(CancelRequested, job)
    await bench.told(job, "1 started", "1 CANCELLED")
    await gate.wait_for(0)
    ended = bench.events.ended(job)
    assert isinstance(ended, JobFailed)
    assert ended.finished_at - asked_at < timedelta(seconds=2) + BUSY
    assert (ended.error_message, ended.retryable) == ("The job was cancelled.", True)
    assert ended.started_at == bench.events.started_at(job)
    following = await bench.submit("EMPTY")
    await bench.told(following, "1 started", "1 completed")


async def test_a_job_that_waits_is_cancelled_at_once(bench: WorkerBench, gate: Gate) -> None:
    await bench.start_worker(slots="1")
    await bench.submit("GATED")
    await gate.wait_for(1)
    job = await bench.submit("EMPTY")
    await bench.ask(CancelRequested, job)
    await bench.told(job, "0 CANCELLED")
    await gate.open()


async def test_a_cancelled_job_can_be_retried_and_a_late_cancel_does_nothing(
    bench: WorkerBench, gate: Gate
) -> None:
    await bench.start_worker()
    job = await bench.submit("GATED")
    await gate.wait_for(1)
    await bench.ask(CancelRequested, job)
    await bench.told(job, "1 started", "1 CANCELLED")
    await gate.wait_for(0)
    await bench.ask(RetryRequested, job, "GATED", run=2)
    await gate.wait_for(1)
    await bench.ask(CancelRequested, job)
    await bench.all_read()
    await gate.open()
    await bench.told(job, "1 started", "1 CANCELLED", "2 started", "2 completed")


async def test_a_deleted_job_is_stopped_and_never_comes_back(
    bench: WorkerBench, gate: Gate
) -> None:
    await bench.start_worker()
    job = await bench.submit("GATED")
    await gate.wait_for(1)
    await bench.ask(DeleteRequested, job)
    await bench.told(job, "1 started", "1 CANCELLED")
    await bench.ask(RetryRequested, job, run=2)
    await bench.ask(CancelRequested, job, run=2)
    await bench.all_read()
    assert await bench.states(job) == ["ended"]
    assert bench.events.story(job) == ["1 started", "1 CANCELLED"]


async def test_a_job_that_takes_longer_than_its_type_allows_is_stopped_for_good(
    bench: WorkerBench, gate: Gate
) -> None:
    await bench.start_worker()
    job = await bench.submit("HURRIED")
    await bench.told(job, "1 started", "1 TIMED_OUT")
    await gate.wait_for(0)


async def test_a_job_that_waits_longer_than_its_type_allows_expires(
    bench: WorkerBench, gate: Gate
) -> None:
    await bench.start_worker(slots="1")
    await bench.submit("GATED")
    await gate.wait_for(1)
    in_time, job = await bench.submit("PATIENT"), await bench.submit("IMPATIENT")
    await bench.told(job, "0 EXPIRED")
    await gate.open()
    await bench.told(in_time, "1 started", "1 completed")


async def test_a_job_that_takes_a_while_tells_its_progress_and_a_short_one_doesn_t(
    bench: WorkerBench, gate: Gate
) -> None:
    await bench.start_worker()
    short, long = await bench.submit("EMPTY"), await bench.submit("STEADY")
    await eventually(lambda: _gets_on(_progress(bench, long)))
    await gate.open()
    await bench.all_ended(short, long)
    # A short one may take long where the machine is busy.
    for event in _progress(bench, short):
        assert (event.progressed_at - event.started_at).total_seconds() > 0.9
    told = _progress(bench, long)
    assert all(event.attempt == 1 and event.worker for event in told)
    assert len({event.sequence for event in told}) == len(told)
    for before, after in pairwise(told):
        assert (after.progressed_at - before.progressed_at).total_seconds() > 0.9
        assert (after.progress.rows_processed or 0) >= (before.progress.rows_processed or 0)
        assert (after.progress.percent or 0) >= (before.progress.percent or 0)
    completed = bench.events.ended(long)
    assert isinstance(completed, JobCompleted)
    assert completed.started_at is not None
    took = completed.finished_at - completed.started_at
    assert completed.duration_ms == took // timedelta(milliseconds=1)


def _gets_on(told: list[JobProgressed]) -> bool:
    """Tell whether more than one report has come, of ever more rows, and what part they are."""
    if not told:
        return False
    first, last = told[0].progress, told[-1].progress
    is_more = (last.rows_processed or 0) > (first.rows_processed or 0)
    return is_more and (last.percent or 0) > 0


def _progress(bench: WorkerBench, job: JobId) -> list[JobProgressed]:
    """Return what was told of the job's progress, in the order in which it was made."""
    told = [event for event in bench.events.of(job) if isinstance(event, JobProgressed)]
    return sorted(told, key=lambda event: event.sequence)
