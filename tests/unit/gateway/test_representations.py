"""What is kept of a job's JSON: as much as is wanted, and never anything out of date."""

from dataclasses import replace

from gateway.domain import Job, JobStatus
from gateway.routes.contract import ReportJobDetails
from gateway.routes.representations import Representations
from tests.support.gateway import FakeGateway

GATEWAY = FakeGateway()


def new_job(history: str = "{}") -> Job:
    job_id = GATEWAY.job_ids.new("default")
    return replace(Job.pending(job_id, GATEWAY.clock()), history=history)


def made_anew(job: Job) -> bytes:
    return ReportJobDetails.of(GATEWAY.jobs.view(job)).json_bytes()


def test_a_job_is_shown_as_it_is_however_often_it_is_asked_for() -> None:
    representations = Representations(GATEWAY.jobs)
    job = new_job()

    assert representations.of(job) == made_anew(job)
    assert representations.of(replace(job)) is representations.of(job)


def test_a_job_that_changed_without_a_newer_vector_is_shown_as_it_is_now() -> None:
    representations = Representations(GATEWAY.jobs)
    job = new_job()
    representations.of(job)
    running = replace(job, status=JobStatus.RUNNING)

    assert representations.of(running) == made_anew(running)
    assert representations.of(job) == made_anew(job)


def test_the_job_that_nobody_asked_for_the_longest_time_is_dropped_first() -> None:
    representations = Representations(GATEWAY.jobs, most=2)
    first, second, third = new_job(), new_job(), new_job()
    kept = representations.of(first)
    dropped = representations.of(second)
    representations.of(first)
    representations.of(third)

    assert representations.of(first) is kept
    assert representations.of(second) is not dropped


def test_a_representation_that_is_too_large_is_not_kept() -> None:
    representations = Representations(GATEWAY.jobs)
    retries = ",".join(
        f'"{run}":{{"event":"RetryRequested","run":{run},"at":"2024-01-01T00:00:00.000000Z"}}'
        for run in range(2, 100)
    )
    job = new_job(f"{{{retries}}}")

    assert len(representations.of(job)) > 16 * 1024
    assert representations.of(job) is not representations.of(job)
