"""Cancel, retry and delete over HTTP: what each publishes, and when it is refused."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gateway.domain import Job, JobStatus
from gateway.service.actions import MOST_RUNS
from gateway.service.changes import Changes
from shared.events import (
    CancelRequested,
    DeleteRequested,
    OutgoingMessage,
    RequestedReport,
    RetryRequested,
    decode,
)
from shared.job_id import created_at
from tests.support.gateway import NOW, REQUEST, FakeBus, FakeGateway, client_of

UNFINISHED = [JobStatus.PENDING, JobStatus.RUNNING]
FINISHED = [JobStatus.COMPLETED, JobStatus.FAILED]


class Projector(FakeBus):
    """A bus whose messages the read model knows, and tells of, once they are acknowledged."""

    def __init__(self, gateway: FakeGateway) -> None:
        super().__init__()
        self._read_model = gateway.read_model
        self.changes: Changes | None = None

    async def publish_one(self, message: OutgoingMessage) -> None:
        await super().publish_one(message)
        event = event_of(message)
        self._fold(event)
        if self.changes is not None:
            self.changes.wake(event.job_id)

    def _fold(self, event: Any) -> None:
        job = next(iter(self._read_model.jobs.get("default", [])), None)
        match event:
            case DeleteRequested():
                self._read_model.deleted.add(event.job_id)
            case CancelRequested() if job is not None:
                self._put(replace(job, cancel_requested=True))
            case RetryRequested(run=run) if job is not None:
                self._put(replace(job, run=run, status=JobStatus.PENDING))

    def _put(self, job: Job) -> None:
        vector = replace(job.vector, requests=job.vector.requests + 1)
        self._read_model.replace(replace(job, vector=vector))


@pytest.fixture
def gateway() -> FakeGateway:
    gateway = FakeGateway(catch_up_seconds=60)
    return replace(gateway, bus=Projector(gateway))


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway to which changes are told."""
    changes = gateway.changes()
    assert isinstance(gateway.bus, Projector)
    gateway.bus.changes = changes
    reading = asyncio.create_task(changes.run())
    async with client_of(gateway.application(changes)) as client:
        yield client
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


def event_of(message: OutgoingMessage) -> Any:
    received = decode(message.headers, message.value)
    assert received is not None
    return received.event


def stored(gateway: FakeGateway, status: JobStatus, **changes: Any) -> Job:
    job_id = gateway.job_ids.new("default")
    job = Job.pending(job_id, created_at(job_id), report_type="ORDERS_SUMMARY", format="CSV")
    gateway.read_model.requests[job_id] = RequestedReport.model_validate({**REQUEST, "later": 1})
    return gateway.read_model.add(replace(job, status=status, **changes))


def assert_problem(response: httpx.Response, status: int, slug: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == f"urn:report-jobs:problem:{slug}"


@pytest.mark.parametrize("status", UNFINISHED)
async def test_a_job_that_has_not_ended_is_asked_to_stop(
    client: httpx.AsyncClient, gateway: FakeGateway, status: JobStatus
) -> None:
    job = stored(gateway, status, run=2)
    gateway.clock.now += timedelta(seconds=3)
    response = await client.post(f"/report-jobs/{job.job_id}/cancel")
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/report-jobs/{job.job_id}"
    assert int(response.headers["retry-after"]) > 0
    body = response.json()
    assert (body["status"], body["cancelRequested"], body["run"]) == (status, True, 2)
    [message] = gateway.bus.published
    assert message.topic == "report-jobs.requests.v1"
    assert event_of(message) == CancelRequested(
        job_id=job.job_id,
        tenant="default",
        created_at=job.created_at,
        report_type="ORDERS_SUMMARY",
        format="CSV",
        run=2,
        requested_at=NOW + timedelta(seconds=3),
    )
    assert (await client.get(f"/report-jobs/{job.job_id}")).json()["cancelRequested"] is True


async def test_to_cancel_again_changes_nothing(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = stored(gateway, JobStatus.RUNNING)
    first = await client.post(f"/report-jobs/{job.job_id}/cancel")
    again = await client.post(f"/report-jobs/{job.job_id}/cancel")
    assert (again.status_code, again.content) == (202, first.content)
    assert len(gateway.bus.published) == 1


async def test_concurrent_cancels_are_one_event(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = stored(gateway, JobStatus.RUNNING)
    path = f"/report-jobs/{job.job_id}/cancel"
    answers = await asyncio.gather(*(client.post(path) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({message.event_id for message in gateway.bus.published}) == 1


async def test_a_job_just_accepted_can_be_cancelled_before_anything_is_known_of_it() -> None:
    gateway = FakeGateway()
    job_id = gateway.job_ids.new("default")
    async with gateway.client() as client:
        response = await client.post(f"/report-jobs/{job_id}/cancel")
    assert (response.status_code, response.json()["cancelRequested"]) == (202, True)
    [message] = gateway.bus.published
    event = event_of(message)
    assert (event.job_id, event.run, event.report_type) == (job_id, 1, "UNKNOWN")


@pytest.mark.parametrize("status", FINISHED)
async def test_a_job_that_has_ended_can_not_be_cancelled(
    client: httpx.AsyncClient, gateway: FakeGateway, status: JobStatus
) -> None:
    job = stored(gateway, status)
    assert_problem(await client.post(f"/report-jobs/{job.job_id}/cancel"), 409, "job-ended")
    assert gateway.bus.published == []


async def test_a_failed_job_is_run_again_with_its_whole_request(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = stored(
        gateway, JobStatus.FAILED, run=3, error_code="CRASHED", error_message="So.", retryable=True
    )
    gateway.clock.now += timedelta(minutes=1)
    response = await client.post(f"/report-jobs/{job.job_id}/retry")
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/report-jobs/{job.job_id}"
    body = response.json()
    assert (body["jobId"], body["status"], body["run"]) == (job.job_id, "PENDING", 4)
    assert (body["errorCode"], body["createdAt"]) == (None, "2024-02-01T09:30:00.000000Z")
    [message] = gateway.bus.published
    event = event_of(message)
    assert isinstance(event, RetryRequested)
    assert (event.run, event.requested_at) == (4, NOW + timedelta(minutes=1))
    assert event.request.model_dump(by_alias=True) == {**REQUEST, "parameters": {}, "later": 1}
    polled = (await client.get(f"/report-jobs/{job.job_id}")).json()
    assert (polled["status"], polled["run"]) == ("PENDING", 4)


async def test_concurrent_retries_are_one_event(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = stored(gateway, JobStatus.FAILED)
    path = f"/report-jobs/{job.job_id}/retry"
    answers = await asyncio.gather(*(client.post(path) for _ in range(5)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({message.event_id for message in gateway.bus.published}) == 1


@pytest.mark.parametrize("status", [*UNFINISHED, JobStatus.COMPLETED])
async def test_only_a_failed_job_is_run_again(
    client: httpx.AsyncClient, gateway: FakeGateway, status: JobStatus
) -> None:
    job = stored(gateway, status)
    response = await client.post(f"/report-jobs/{job.job_id}/retry")
    assert_problem(response, 409, "job-not-retryable")
    assert status in response.json()["detail"]
    assert gateway.bus.published == []


async def test_a_job_has_a_limited_number_of_runs(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = stored(gateway, JobStatus.FAILED, run=MOST_RUNS)
    response = await client.post(f"/report-jobs/{job.job_id}/retry")
    assert_problem(response, 409, "job-not-retryable")
    assert gateway.bus.published == []


async def test_what_could_never_be_read_is_not_run_again(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = stored(gateway, JobStatus.FAILED)
    del gateway.read_model.requests[job.job_id]
    response = await client.post(f"/report-jobs/{job.job_id}/retry")
    assert_problem(response, 409, "job-not-retryable")
    assert gateway.bus.published == []


@pytest.mark.parametrize("status", FINISHED)
async def test_a_job_that_has_ended_is_deleted_and_gone(
    client: httpx.AsyncClient, gateway: FakeGateway, status: JobStatus
) -> None:
    job = stored(gateway, status, run=2)
    response = await client.delete(f"/report-jobs/{job.job_id}")
    assert (response.status_code, response.content) == (204, b"")
    [message] = gateway.bus.published
    event = event_of(message)
    assert isinstance(event, DeleteRequested)
    assert (event.run, event.requested_at) == (2, NOW)
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"),
    ):  # fmt: skip
        again = await client.request(method, f"/report-jobs/{job.job_id}{path}")
        assert_problem(again, 410, "job-deleted")
    assert len(gateway.bus.published) == 1


async def test_a_job_is_deleted_only_as_the_client_knows_it(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = stored(gateway, JobStatus.FAILED)
    path = f"/report-jobs/{job.job_id}"
    known = (await client.get(path)).headers["etag"]
    for other in ('"1-2-3"', f"W/{known}", known.strip('"')):
        refused = await client.delete(path, headers={"if-match": other})
        assert_problem(refused, 412, "precondition-failed")
    assert gateway.bus.published == []
    deleted = await client.delete(path, headers=[("if-match", '"1-2-3"'), ("if-match", known)])
    assert deleted.status_code == 204


async def test_any_state_of_a_job_may_be_meant(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = stored(gateway, JobStatus.COMPLETED)
    response = await client.delete(f"/report-jobs/{job.job_id}", headers={"if-match": "*"})
    assert response.status_code == 204


@pytest.mark.parametrize("status", UNFINISHED)
async def test_a_job_that_may_still_run_is_not_deleted(
    client: httpx.AsyncClient, gateway: FakeGateway, status: JobStatus
) -> None:
    job = stored(gateway, status)
    assert_problem(await client.delete(f"/report-jobs/{job.job_id}"), 409, "job-not-ended")
    assert gateway.bus.published == []


async def test_a_deletion_that_the_read_model_is_slow_to_hear_of_is_202() -> None:
    gateway = FakeGateway()
    job = stored(gateway, JobStatus.COMPLETED)
    async with gateway.client() as client:
        response = await client.delete(f"/report-jobs/{job.job_id}")
    assert (response.status_code, response.content) == (202, b"")
    assert len(gateway.bus.published) == 1


async def test_what_the_read_model_is_slow_to_hear_of_is_accepted_all_the_same() -> None:
    gateway = FakeGateway()
    async with gateway.client() as client:
        running = stored(gateway, JobStatus.RUNNING)
        assert (await client.post(f"/report-jobs/{running.job_id}/cancel")).status_code == 202
        failed = stored(gateway, JobStatus.FAILED)
        assert (await client.post(f"/report-jobs/{failed.job_id}/retry")).json()["run"] == 2


@pytest.mark.parametrize(
    ("method", "path", "status", "answer"),
    [
        ("POST", "/cancel", JobStatus.RUNNING, 202),
        ("POST", "/retry", JobStatus.FAILED, 202),
        ("DELETE", "", JobStatus.COMPLETED, 204),
    ],
)
async def test_the_answer_comes_when_the_read_model_tells_and_takes_one_read(
    client: httpx.AsyncClient,
    gateway: FakeGateway,
    method: str,
    path: str,
    status: JobStatus,
    answer: int,
) -> None:
    job = stored(gateway, status)
    response = await client.request(method, f"/report-jobs/{job.job_id}{path}")
    assert response.status_code == answer
    assert gateway.read_model.reads == [[job.job_id]]


async def test_where_too_many_wait_already_an_action_is_accepted_without_waiting() -> None:
    gateway = FakeGateway()
    running, completed = stored(gateway, JobStatus.RUNNING), stored(gateway, JobStatus.COMPLETED)
    async with client_of(gateway.application(gateway.changes(capacity=0))) as client:
        cancelled = await client.post(f"/report-jobs/{running.job_id}/cancel")
        deleted = await client.delete(f"/report-jobs/{completed.job_id}")
    assert (cancelled.status_code, cancelled.json()["cancelRequested"]) == (202, True)
    assert deleted.status_code == 202
    assert len(gateway.bus.published) == 2


ACTIONS = [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")]


@pytest.mark.parametrize(("method", "path"), ACTIONS[1:])
async def test_a_job_just_accepted_is_pending_and_refused(
    client: httpx.AsyncClient, gateway: FakeGateway, method: str, path: str
) -> None:
    response = await client.request(method, f"/report-jobs/{gateway.job_ids.new('default')}{path}")
    assert response.status_code == 409
    assert gateway.bus.published == []


@pytest.mark.parametrize(("method", "path"), ACTIONS)
async def test_ids_that_are_none_or_have_expired(
    client: httpx.AsyncClient, gateway: FakeGateway, method: str, path: str
) -> None:
    expired = gateway.job_ids.new("default")
    gateway.clock.now += timedelta(days=8)
    response = await client.request(method, f"/report-jobs/{expired}{path}")
    assert_problem(response, 410, "job-expired")
    for job_id in ("job_12345", gateway.job_ids.new("another")):
        response = await client.request(method, f"/report-jobs/{job_id}{path}")
        assert_problem(response, 404, "job-not-found")
    assert gateway.bus.published == []


@pytest.mark.parametrize(("method", "path"), ACTIONS)
@pytest.mark.parametrize("part", ["bus", "read_model"])
async def test_what_can_not_be_confirmed_is_503(
    client: httpx.AsyncClient, gateway: FakeGateway, method: str, path: str, part: str
) -> None:
    job = stored(gateway, JobStatus.RUNNING if path == "/cancel" else JobStatus.FAILED)
    getattr(gateway, part).is_away = True
    response = await client.request(method, f"/report-jobs/{job.job_id}{path}")
    assert_problem(response, 503, "temporarily-unavailable")
    assert int(response.headers["retry-after"]) > 0
