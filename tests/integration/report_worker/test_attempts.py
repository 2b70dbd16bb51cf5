"""What becomes of attempts in real processes: completion, failures, lost children and workers."""

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from shared.clock import utc_now
from shared.events import JobAttemptEnded, JobCompleted, JobFailed
from tests.support.plugins import DECLARED, install_plugin
from tests.support.report_worker import BUSY, Gate, Worker, WorkerBench, eventually

OFFSPRING = """
import asyncio, os, subprocess, sys, time
from pathlib import Path

from report_worker.plugins import ReportPlugin

async def rows(report):
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    forked = os.fork()
    if not forked:
        time.sleep(3600)
    Path(__file__).with_name("offspring.txt").write_text(f"{started.pid} {forked}")
    await asyncio.sleep(3600)
    yield []

plugin = ReportPlugin(rows, columns=("day", "total"))
"""


def is_running(pid: int) -> bool:
    """Tell whether a process exists and isn't a zombie that waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:  # also where it is collected while it is looked at
        return False


async def kill_the_only_child(worker: Worker) -> None:
    """Kill the child of a worker with one slot, which has one again only after a while."""
    await eventually(lambda: len(worker.children) == 1)
    (child,) = worker.children
    os.kill(child, signal.SIGKILL)
    await eventually(lambda: child not in worker.children)


async def test_a_report_without_rows_is_completed(bench: WorkerBench) -> None:
    await bench.start_worker()
    job = await bench.submit("EMPTY")
    await bench.told(job, "1 started", "1 completed")
    completed = bench.events.ended(job)
    assert isinstance(completed, JobCompleted)
    assert completed.row_count == 0
    assert completed.request.report_type == "EMPTY"
    started_at = bench.events.started_at(job)
    assert completed.started_at == started_at
    assert completed.created_at <= started_at <= completed.finished_at
    assert (completed.tenant, completed.format, completed.run) == ("acme", "CSV", 1)


async def test_an_unreachable_source_is_tried_again_and_then_fails_with_words_for_people(
    bench: WorkerBench,
) -> None:
    worker = await bench.start_worker(max_failures="3")
    job = await bench.submit("AWAY")
    await bench.told(
        job, "1 started", "1 FAILED", "2 started", "2 FAILED", "3 started",
        "3 REPORT_GENERATION_FAILED",
    )  # fmt: skip
    failed = bench.events.ended(job)
    assert isinstance(failed, JobFailed)
    assert failed.error_message == "Downstream data source unavailable."
    assert failed.retryable
    told = "".join(event.model_dump_json() for event in bench.events.of(job))
    assert "s3cret" not in told
    assert "Traceback" not in told
    assert "s3cret" not in worker.log


async def test_a_refused_query_is_not_tried_again(bench: WorkerBench) -> None:
    await bench.start_worker()
    job = await bench.submit("NO_SUCH_TABLE")
    await bench.told(job, "1 started", "1 REPORT_GENERATION_FAILED")
    failed = bench.events.ended(job)
    assert isinstance(failed, JobFailed)
    assert not failed.retryable
    assert "no_such_table" not in failed.error_message


async def test_a_killed_child_costs_its_own_job_one_attempt(bench: WorkerBench, gate: Gate) -> None:
    worker = await bench.start_worker()
    jobs = await bench.submit_many(2, "GATED")
    await gate.wait_for(2)
    victim = min(worker.children)
    os.kill(victim, signal.SIGKILL)
    await eventually(lambda: sorted(len(bench.events.story(job)) for job in jobs) == [1, 3])
    await eventually(lambda: len(worker.children) == 2)
    await gate.open()
    await bench.all_ended(*jobs)
    stories = sorted((bench.events.story(job) for job in jobs), key=len)
    assert stories == [
        ["1 started", "1 completed"],
        ["1 started", "1 LOST", "2 started", "2 completed"],
    ]


async def test_a_job_that_loses_its_process_again_and_again_fails(
    bench: WorkerBench, gate: Gate
) -> None:
    worker = await bench.start_worker(slots="1", max_losses="2")
    job = await bench.submit("GATED")
    await bench.told(job, "1 started")
    await kill_the_only_child(worker)
    await bench.told(job, "1 started", "1 LOST", "2 started")
    await kill_the_only_child(worker)
    await bench.told(job, "1 started", "1 LOST", "2 started", "2 CRASHED")


async def test_a_killed_worker_leaves_no_child_and_its_jobs_run_again(
    bench: WorkerBench, gate: Gate
) -> None:
    lease = timedelta(seconds=6)  # the other worker takes nothing over before the kill
    worker = await bench.start_worker(lease=str(lease.total_seconds()))
    jobs = await bench.submit_many(2, "GATED")
    await gate.wait_for(2)
    children = worker.children
    assert len(children) == 2
    for child in children:
        os.kill(child, signal.SIGSTOP)  # neither reads its socket nor answers a signal
    survivor = await bench.start_worker()
    await survivor.is_ready()
    await worker.kill()
    killed_at = utc_now()
    await eventually(lambda: not any(map(is_running, children)))
    await eventually(lambda: all(len(bench.events.story(job)) == 3 for job in jobs))
    await gate.open()
    for job in jobs:
        await bench.told(job, "1 started", "1 LOST", "2 started", "2 completed")
        taken_over_at = bench.events.started_at(job, attempt=2)
        assert taken_over_at - killed_at < lease + timedelta(seconds=1) + BUSY


@pytest.mark.parametrize("is_guard_killed", [False, True])
async def test_a_killed_worker_leaves_nothing_that_its_reports_started(
    bench: WorkerBench, tmp_path: Path, *, is_guard_killed: bool
) -> None:
    install_plugin(tmp_path, OFFSPRING, name="offspring")
    declared = DECLARED | {"name": "OFFSPRING", "plugin": "offspring"}
    (tmp_path / "catalogue" / "offspring.yaml").write_text(yaml.safe_dump(declared))
    bench.environment["PYTHONPATH"] = str(tmp_path)
    worker = await bench.start_worker(slots="1")
    await bench.submit("OFFSPRING")
    told = tmp_path / "offspring.txt"
    await eventually(lambda: told.exists() and len(told.read_text().split()) == 2)
    offspring = [int(pid) for pid in told.read_text().split()]
    assert all(map(is_running, offspring))
    if is_guard_killed:
        guards = worker.guards
        for guard in guards:
            os.kill(guard, signal.SIGKILL)
        await eventually(lambda: len(worker.guards - guards) == 1)
    await worker.kill()
    await eventually(lambda: not any(map(is_running, offspring)))


async def test_a_stopping_worker_lets_its_jobs_end(bench: WorkerBench, gate: Gate) -> None:
    worker = await bench.start_worker()
    jobs = await bench.submit_many(3, "GATED")
    await gate.wait_for(2)
    stopping = asyncio.create_task(worker.stop())
    await eventually(lambda: "draining" in worker.log)
    await gate.open()
    assert await stopping == 0
    await eventually(lambda: sum(bench.events.ended(job) is not None for job in jobs) == 2)
    left = next(job for job in jobs if bench.events.ended(job) is None)
    assert bench.events.story(left) == []


async def test_a_stopping_worker_gives_back_what_it_can_t_finish(
    bench: WorkerBench, gate: Gate
) -> None:
    """The other worker is as good as deaf to anything but the word that there is work."""
    worker = await bench.start_worker(drain="0.2", lease="60", slots="2", max_losses="1")
    jobs = await bench.submit_many(2, "GATED")
    await gate.wait_for(2)
    other = await bench.start_worker(
        lease="1800", beat="600", database_connect_timeout="10", max_losses="1"
    )
    await other.is_ready()
    assert await worker.stop() == 0
    await eventually(lambda: all(len(bench.events.story(job)) == 3 for job in jobs))
    await gate.open()
    for job in jobs:
        await bench.told(job, "1 started", "1 RELEASED", "2 started", "2 completed")
        (released,) = [e for e in bench.events.of(job) if isinstance(e, JobAttemptEnded)]
        taken_over_at = bench.events.started_at(job, attempt=2)
        assert taken_over_at - released.ended_at < timedelta(seconds=1) + BUSY


async def test_a_worker_that_stops_in_a_burst_of_quick_jobs_loses_none_of_those_it_claimed_ahead(
    bench: WorkerBench,
) -> None:
    first = await bench.start_worker(max_losses="1")
    jobs = await bench.submit_many(300)
    await eventually(lambda: sum(bench.events.ended(job) is not None for job in jobs) > 60)
    await bench.start_worker(max_losses="1")
    await first.stop()
    await bench.all_ended(*jobs)
    for job in jobs:
        *released, last = [line for line in bench.events.story(job) if "started" not in line]
        assert last.endswith("completed")
        assert all(line.endswith("RELEASED") for line in released)
