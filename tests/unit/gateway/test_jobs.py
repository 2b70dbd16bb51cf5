"""What the gateway says of a job: from its row, from its id, or not at all."""

from datetime import timedelta

import pytest

from gateway.domain import (
    Job,
    JobExpiredError,
    JobFilter,
    JobNotFoundError,
    JobStatus,
    ReadModelUnavailableError,
    poll_interval,
)
from shared.job_id import JobId, created_at, earliest
from tests.support.gateway import NOW, RETENTION, FakeGateway


def job_of(gateway: FakeGateway, status: JobStatus = JobStatus.RUNNING) -> Job:
    job_id = gateway.job_ids.new("default")
    return Job(
        job_id=job_id, status=status, created_at=created_at(job_id), updated_at=gateway.clock.now
    )


async def test_a_known_job_is_answered_from_its_row(gateway: FakeGateway) -> None:
    job = gateway.read_model.add(job_of(gateway))
    assert await gateway.jobs.find(job.job_id, "default") == job


async def test_a_certified_id_without_a_row_is_pending_since_the_moment_in_it(
    gateway: FakeGateway,
) -> None:
    job_id = gateway.job_ids.new("default")
    gateway.clock.now += timedelta(seconds=30)
    job = await gateway.jobs.find(job_id, "default")
    assert job == Job.pending(job_id, NOW)


async def test_an_id_of_another_tenant_is_unknown_with_and_without_a_row(
    gateway: FakeGateway,
) -> None:
    theirs = gateway.job_ids.new("other")
    with pytest.raises(JobNotFoundError):
        await gateway.jobs.find(theirs, "default")
    gateway.read_model.add(Job.pending(theirs, NOW), tenant="other")
    with pytest.raises(JobNotFoundError):
        await gateway.jobs.find(theirs, "default")


async def test_a_forged_id_is_unknown(gateway: FakeGateway) -> None:
    real = gateway.job_ids.new("default")
    forged = real[:-1] + ("0" if real[-1] != "0" else "1")
    with pytest.raises(JobNotFoundError):
        await gateway.jobs.find(forged, "default")


@pytest.mark.parametrize("text", ["", "job_12345", "job_" + "w" * 40, "\x00", "x" * 100_000])
async def test_what_is_no_id_is_unknown_without_asking_the_database(
    gateway: FakeGateway, text: str
) -> None:
    gateway.read_model.is_away = True
    with pytest.raises(JobNotFoundError):
        await gateway.jobs.find(text, "default")


async def test_a_job_past_its_retention_is_gone_row_or_not(gateway: FakeGateway) -> None:
    job = gateway.read_model.add(job_of(gateway))
    gateway.clock.now += RETENTION
    assert await gateway.jobs.find(job.job_id, "default") == job
    gateway.clock.now += timedelta(milliseconds=1)
    with pytest.raises(JobExpiredError):
        await gateway.jobs.find(job.job_id, "default")


async def test_a_certified_id_isnt_called_pending_while_the_database_is_away(
    gateway: FakeGateway,
) -> None:
    gateway.read_model.is_away = True
    with pytest.raises(ReadModelUnavailableError):
        await gateway.jobs.find(gateway.job_ids.new("default"), "default")


def test_only_a_completed_job_has_a_link_and_only_a_living_one_a_poll_interval(
    gateway: FakeGateway,
) -> None:
    for status in JobStatus:
        view = gateway.jobs.view(job_of(gateway, status))
        assert (view.download_url is not None) == (status is JobStatus.COMPLETED)
        assert (view.retry_after is None) == status.is_terminal
        assert view.expires_at == NOW + RETENTION


@pytest.mark.parametrize(
    ("age", "seconds"),
    [(-5, 1), (0, 1), (9, 1), (20, 2), (59, 5), (100, 10), (86_400, 10)],
)
def test_polls_become_rarer_with_the_age_of_the_job(age: int, seconds: int) -> None:
    assert poll_interval(timedelta(seconds=age)) == seconds


async def test_pages_follow_each_other_without_gap_or_repeat(gateway: FakeGateway) -> None:
    made = []
    for _ in range(7):
        made.append(gateway.read_model.add(job_of(gateway)).job_id)
        gateway.clock.now += timedelta(milliseconds=1)
    seen: list[JobId] = []
    token = None
    for _ in range(3):
        page = await gateway.jobs.list_newest("default", JobFilter(), 3, token)
        seen += [view.job.job_id for view in page.views]
        token = page.next_page_token
    assert seen == made[::-1]
    assert token is None


async def test_a_full_last_page_has_no_token(gateway: FakeGateway) -> None:
    gateway.read_model.add(job_of(gateway))
    page = await gateway.jobs.list_newest("default", JobFilter(), 1, None)
    assert (len(page.views), page.next_page_token) == (1, None)


async def test_listings_leave_out_expired_jobs_and_keep_to_their_window(
    gateway: FakeGateway,
) -> None:
    await gateway.jobs.list_newest("default", JobFilter(), 1, None)
    assert gateway.read_model.bounds == (earliest(NOW - RETENTION), "job_w")

    window = JobFilter(created_after=NOW - timedelta(days=2), created_before=NOW)
    await gateway.jobs.list_newest("default", window, 1, None)
    assert gateway.read_model.bounds == (earliest(NOW - timedelta(days=2)), earliest(NOW))

    long_ago = JobFilter(created_after=NOW - timedelta(days=400))
    await gateway.jobs.list_newest("default", long_ago, 1, None)
    assert gateway.read_model.bounds == (earliest(NOW - RETENTION), "job_w")
