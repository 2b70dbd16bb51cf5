"""Each tenant's limits: how often it may ask, and how many jobs it may have under way."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.domain import (
    Job,
    JobStatus,
    KeyedRequest,
    OverloadedError,
    RatePolicy,
    ReadModelUnavailableError,
    RememberedRequest,
    Scope,
    TooManyActiveJobsError,
    TooManyRequestsError,
    take,
)
from gateway.metrics import SubmissionMetrics
from gateway.service import ActiveJobs, BoundedPublisher, RateLimit, RateLimits
from gateway.settings import Settings
from shared.events import OutgoingMessage, RequestedReport
from shared.job_id import JobIds
from tests.support.gateway import (
    KEYS,
    NOW,
    REQUEST,
    FakeBus,
    FakeClock,
    FakeGateway,
    FakeKeys,
    FakeReadModel,
)

REQUESTED = RequestedReport.model_validate(REQUEST)


@dataclass
class Seconds:
    """A clock that stands still until it is moved."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


policies = st.builds(
    RatePolicy,
    name=st.just("submit"),
    per_second=st.floats(0.1, 1000),
    burst=st.integers(1, 1000),
)


@given(policies, st.lists(st.floats(0, 10), max_size=60))
def test_no_window_ever_admits_more_than_the_burst_and_what_flowed_in(
    policy: RatePolicy, pauses: list[float]
) -> None:
    now, bucket, admitted = 0.0, None, 0
    for pause in pauses:
        now += pause
        taken = take(bucket, now, policy)
        bucket = taken.bucket
        admitted += taken.retry_after is None
        assert 0 <= taken.remaining <= policy.burst
        assert 0 <= taken.reset <= policy.window
    assert admitted <= policy.burst + math.ceil(now * policy.per_second)


@given(policies)
def test_who_waits_as_long_as_told_is_admitted(policy: RatePolicy) -> None:
    bucket = None
    while (taken := take(bucket, 0.0, policy)).retry_after is None:
        bucket = taken.bucket
    assert take(taken.bucket, float(taken.retry_after), policy).retry_after is None


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    policy = RatePolicy("submit", 1, 5)
    first = take(None, 100.0, policy)
    assert take(first.bucket, 50.0, policy).remaining == 3


def test_tenants_dont_spend_each_others_tokens_and_looking_is_counted_apart() -> None:
    clock = Seconds()
    limits = RateLimits(
        submit=RateLimit(RatePolicy("submit", 1, 2), clock),
        read=RateLimit(RatePolicy("read", 1, 1), clock),
    )
    limits.spend("acme", Scope.SUBMIT)
    limits.spend("acme", Scope.ADMIN)
    with pytest.raises(TooManyRequestsError):
        limits.spend("acme", Scope.SUBMIT)
    limits.spend("acme", Scope.READ)
    limits.spend("rival", Scope.SUBMIT)
    clock.now += 1
    limits.spend("acme", Scope.SUBMIT)


def test_tenants_that_went_quiet_are_forgotten() -> None:
    clock = Seconds()
    limit = RateLimit(RatePolicy("submit", 1, 2), clock)
    for number in range(25_000):
        clock.now += 0.01
        limit.take(f"tenant-{number}")
    assert len(limit._buckets) <= 10_000


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def gateway(seconds: Seconds) -> FakeGateway:
    read_model = FakeReadModel()
    return FakeGateway(
        read_model=read_model,
        rate_limits=RateLimits(submit=RateLimit(RatePolicy("submit", 0.5, 4), seconds)),
        active_jobs=ActiveJobs(read_model, 3, seconds),
    )


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


async def test_every_answer_tells_what_is_left_of_the_rate(client: httpx.AsyncClient) -> None:
    accepted = await client.post("/generate-report", json=REQUEST)
    assert accepted.headers["ratelimit-policy"] == '"submit";q=4;w=8'
    assert accepted.headers["ratelimit"] == '"submit";r=3;t=2'
    refused = await client.post("/generate-report", json={})
    assert (refused.status_code, refused.headers["ratelimit"]) == (422, '"submit";r=2;t=4')


async def test_who_asks_too_often_is_told_when_to_come_back(
    client: httpx.AsyncClient, gateway: FakeGateway, seconds: Seconds
) -> None:
    for _ in range(4):
        await client.post("/generate-report", json={})
    response = await client.post("/generate-report", json=REQUEST)
    assert response.status_code == 429
    assert response.json()["type"] == "urn:report-jobs:problem:rate-limited"
    assert response.headers["retry-after"] == "2"
    assert response.headers["ratelimit"] == '"submit";r=0;t=8'
    assert response.headers.get_list("ratelimit-policy") == ['"submit";q=4;w=8']
    assert gateway.bus.published == []
    assert (await client.get("/report-jobs")).status_code == 200
    seconds.now += 2
    assert (await client.post("/generate-report", json=REQUEST)).status_code == 202


async def test_as_many_jobs_as_may_be_under_way_are_taken_and_no_more(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    jobs = [(await client.post("/generate-report", json=REQUEST)).json() for _ in range(3)]
    response = await client.post("/generate-report", json=REQUEST)
    assert response.status_code == 429
    assert response.json()["type"] == "urn:report-jobs:problem:too-many-active-jobs"
    assert int(response.headers["retry-after"]) > 0
    assert len(gateway.bus.published) == len(jobs) == 3


async def test_a_replay_is_no_further_job(client: httpx.AsyncClient, seconds: Seconds) -> None:
    key = {"idempotency-key": '"one"'}
    first = await client.post("/generate-report", json=REQUEST, headers=key)
    for _ in range(2):
        await client.post("/generate-report", json=REQUEST)
    seconds.now += 10
    replay = await client.post("/generate-report", json=REQUEST, headers=key)
    assert (replay.status_code, replay.json()["jobId"]) == (202, first.json()["jobId"])
    new = await client.post("/generate-report", json=REQUEST, headers={"idempotency-key": '"two"'})
    assert new.status_code == 429


class SlowBus(FakeBus):
    """Acknowledges all that it is given at once, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def publish_one(self, message: OutgoingMessage) -> None:
        await self.released.wait()
        await super().publish_one(message)


class SlowKeys(FakeKeys):
    """Keeps keys when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def claim(self, request: KeyedRequest) -> RememberedRequest:
        await self.released.wait()
        return await super().claim(request)


def with_room_for_three() -> FakeGateway:
    read_model = FakeReadModel()
    return FakeGateway(
        read_model=read_model,
        bus=SlowBus(),
        keys=SlowKeys(),
        active_jobs=ActiveJobs(read_model, 3, Seconds()),
    )


async def outcomes(gateway: FakeGateway, asked: Sequence[Awaitable[httpx.Response]]) -> list[int]:
    """Return how requests were answered that all came before the first was."""
    assert isinstance(gateway.bus, SlowBus)
    assert isinstance(gateway.keys, SlowKeys)
    answers = [asyncio.ensure_future(one) for one in asked]
    while sum(answer.done() for answer in answers) < len(answers) - 3:  # noqa: ASYNC110
        await asyncio.sleep(0)
    gateway.keys.released.set()
    gateway.bus.released.set()
    return sorted(answer.status_code for answer in await asyncio.gather(*answers))


@pytest.mark.parametrize("has_key", [False, True])
async def test_requests_at_the_same_time_dont_take_the_same_last_place(*, has_key: bool) -> None:
    gateway = with_room_for_three()
    async with asyncio.timeout(30), gateway.client() as client:
        asked = [
            client.post(
                "/generate-report",
                json=REQUEST,
                headers={"idempotency-key": f"key-{number}"} if has_key else {},
            )
            for number in range(8)
        ]
        assert await outcomes(gateway, asked) == [202] * 3 + [429] * 5
    assert len(gateway.bus.published) == 3


async def test_retries_at_the_same_time_dont_take_the_same_last_place() -> None:
    gateway = with_room_for_three()
    jobs = [
        gateway.read_model.add(Job(gateway.job_ids.new("default"), JobStatus.FAILED, NOW, NOW))
        for _ in range(8)
    ]
    for job in jobs:
        gateway.read_model.requests[job.job_id] = REQUESTED
    async with asyncio.timeout(30), gateway.client() as client:
        asked = [client.post(f"/report-jobs/{job.job_id}/retry") for job in jobs]
        assert await outcomes(gateway, asked) == [202] * 3 + [429] * 5


async def test_what_could_not_be_accepted_takes_no_place() -> None:
    gateway = replace(with_room_for_three(), bus=FakeBus(), keys=FakeKeys())
    failed = Job(gateway.job_ids.new("default"), JobStatus.FAILED, NOW, NOW)
    gateway.read_model.add(failed)
    gateway.read_model.requests[failed.job_id] = REQUESTED
    gateway.bus.is_away = True
    async with gateway.client() as client:
        for number in range(5):
            key = {"idempotency-key": f"key-{number}"}
            answers = [
                await client.post("/generate-report", json=REQUEST),
                await client.post("/generate-report", json=REQUEST, headers=key),
                await client.post(f"/report-jobs/{failed.job_id}/retry"),
            ]
            assert {answer.status_code for answer in answers} == {503}
        gateway.bus.is_away, gateway.bus.is_full = False, True
        for path in ["/generate-report", f"/report-jobs/{failed.job_id}/retry"] * 5:
            assert (await client.post(path, json=REQUEST)).status_code == 503
        gateway.bus.is_full, gateway.keys.is_away = False, True
        for number in range(5):
            key = {"idempotency-key": f"other-{number}"}
            answer = await client.post("/generate-report", json=REQUEST, headers=key)
            assert answer.status_code == 503
        for status in (202, 202, 202, 429):
            answer = await client.post("/generate-report", json=REQUEST)
            assert answer.status_code == status


class Counted:
    """Jobs that were accepted here, and a read model that may lag behind them."""

    def __init__(self, limit: int = 3, read_model: FakeReadModel | None = None) -> None:
        self.read_model, self.seconds = read_model or FakeReadModel(), Seconds()
        self.active = ActiveJobs(self.read_model, limit, self.seconds)
        self.ids = JobIds(KEYS, FakeClock())

    def accept(self) -> Job:
        self.active.require_room("acme")
        job = Job.pending(self.ids.new("acme"), FakeClock().now)
        self.active.add("acme", job.job_id)
        return job

    @property
    def is_full(self) -> bool:
        try:
            self.active.require_room("acme")
        except TooManyActiveJobsError:
            return True
        return False


async def test_jobs_that_have_ended_make_room() -> None:
    counted = Counted()
    jobs = [counted.accept() for _ in range(3)]
    for job in jobs:
        counted.read_model.add(job, "acme")
    await counted.active.count()
    assert counted.is_full
    ended = Job(jobs[0].job_id, JobStatus.FAILED, jobs[0].created_at, jobs[0].updated_at)
    counted.read_model.jobs["acme"][0] = ended
    await counted.active.count()
    assert not counted.is_full


async def test_jobs_that_the_read_model_doesnt_show_yet_count_all_the_same() -> None:
    counted = Counted()
    first = counted.accept()
    counted.read_model.add(first, "acme")
    await counted.active.count()
    counted.accept()
    counted.accept()
    await counted.active.count()
    assert counted.is_full
    counted.seconds.now += 7200
    await counted.active.count()
    assert not counted.is_full


def ended(jobs: Iterable[Job]) -> Iterator[Job]:
    return (replace(job, status=JobStatus.COMPLETED) for job in jobs)


async def test_thousands_that_the_read_model_shows_at_once_make_room_at_once() -> None:
    counted = Counted(limit=2500)
    for job in ended([counted.accept() for _ in range(2500)]):
        counted.read_model.add(job, "acme")
    await counted.active.count()
    for _ in range(2500):
        counted.accept()
    assert counted.is_full


async def test_those_that_it_shows_make_room_however_many_it_does_not() -> None:
    counted = Counted(limit=2500)
    jobs = [counted.accept() for _ in range(2500)]
    for job in ended(jobs[-700:]):
        counted.read_model.add(job, "acme")
    for _ in range(3):
        await counted.active.count()
    for _ in range(700):
        counted.accept()
    assert counted.is_full


async def test_a_retry_counts_although_the_read_model_shows_the_run_before_still() -> None:
    counted = Counted(limit=1)
    failed = replace(Job.pending(counted.ids.new("acme"), NOW), status=JobStatus.FAILED)
    counted.read_model.add(failed, "acme")
    counted.active.add("acme", failed.job_id, run=2)
    await counted.active.count()
    assert counted.is_full
    counted.read_model.replace(replace(failed, run=2, status=JobStatus.PENDING))
    await counted.active.count()
    assert counted.is_full
    counted.read_model.replace(replace(failed, run=2, status=JobStatus.COMPLETED))
    await counted.active.count()
    assert not counted.is_full


class CountedLate(FakeReadModel):
    """Says what it knows of, and can't count then."""

    async def count_active(self, _tenants: Collection[str], _limit: int) -> dict[str, int]:
        raise ReadModelUnavailableError


async def test_what_was_seen_counts_until_it_was_counted() -> None:
    counted = Counted(read_model=CountedLate())
    for _ in range(3):
        counted.read_model.add(counted.accept(), "acme")
    with pytest.raises(ReadModelUnavailableError):
        await counted.active.count()
    assert counted.is_full


async def test_while_the_read_model_is_away_the_last_count_holds() -> None:
    counted = Counted()
    for _ in range(3):
        counted.accept()
    counted.read_model.is_away = True
    with pytest.raises(ReadModelUnavailableError):
        await counted.active.count()
    assert counted.is_full


async def test_jobs_of_others_are_counted_too() -> None:
    counted = Counted()
    counted.accept()
    for _ in range(3):
        job = Job.pending(counted.ids.new("acme"), FakeClock().now)
        counted.read_model.add(job, "acme")
    await counted.active.count()
    assert counted.is_full


def test_the_shipped_limits_admit_five_thousand_jobs_and_bursts_of_six_hundred(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://gateway@127.0.0.1/x")
    shipped = Settings()
    assert shipped.submit_burst >= 5000
    assert shipped.max_active_jobs >= 5000
    assert shipped.max_publishing >= 600


class StuckBroker:
    """Acknowledges when it is told to."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.sent, self.is_full = 0, asyncio.Event()

    async def publish_one(self, _message: OutgoingMessage) -> None:
        self.sent += 1
        if self.sent == 10:
            self.is_full.set()
        await self.released.wait()


async def test_a_broker_that_hangs_piles_up_no_more_than_the_limit_and_recovers_at_once() -> None:
    broker, registry = StuckBroker(), CollectorRegistry()
    bounded = BoundedPublisher(broker, 10, SubmissionMetrics(registry))
    message = OutgoingMessage(topic="t", key=b"k", headers={}, value=b"v")
    waiting = [asyncio.create_task(bounded.publish_one(message)) for _ in range(10)]
    await broker.is_full.wait()
    for _ in range(100):
        with pytest.raises(OverloadedError):
            await bounded.publish_one(message)
    assert registry.get_sample_value("report_jobs_gateway_shed_total") == 100
    broker.released.set()
    await asyncio.gather(*waiting)
    await bounded.publish_one(message)
