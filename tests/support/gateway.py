"""The gateway's application over fakes: real routes and use cases, no server and no I/O."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import httpx
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from gateway.app import assemble
from gateway.domain import (
    ArtifactMissingError,
    ByteRange,
    Job,
    JobDeletedError,
    JobFilter,
    KeyedRequest,
    KeysUnavailableError,
    OverloadedError,
    ReadModelUnavailableError,
    RememberedRequest,
    memory,
)
from gateway.metrics import ChangeMetrics, RequestMetrics, SubmissionMetrics
from gateway.routes.contract import ReportTypeList
from gateway.routes.representations import Representations
from gateway.routes.revision import revision_of
from gateway.routes.services import Services
from gateway.service import (
    Access,
    Actions,
    ActiveJobs,
    Downloads,
    Jobs,
    KeyedSubmissions,
    OpenAccess,
    RateLimits,
    Submissions,
)
from gateway.service.changes import Changes
from gateway.service.following import Following, Pace
from gateway.store import OpenArtifact
from local_stack.paths import CATALOGUE
from shared.bus import BusUnavailableError
from shared.callback import CallbackPolicy
from shared.catalogue import Catalogue, load_catalogue
from shared.events import OutgoingMessage, RequestedReport
from shared.job_id import JobId, JobIds
from shared.keyring import KeyRing
from shared.links import DownloadLinks

NOW: Final = datetime(2024, 2, 1, 9, 30, tzinfo=UTC)
RETENTION: Final = timedelta(days=7)
KEYS: Final = KeyRing(signing_number=1, keys={1: b"k" * 32})
URL_LIFETIME: Final = timedelta(minutes=5)
CATCH_UP_SECONDS: Final = 0.2
"""For tests in which the read model hears of nothing: all others wait for as long as it takes."""
BODY_TIMEOUT: Final = 0.2
CLIENT_TIMEOUT: Final = 5.0
PACE: Final = Pace(quiet=30, longest=60)

REQUEST: Final[dict[str, Any]] = {
    "reportType": "ORDERS_SUMMARY",
    "dateRange": {"fromDate": "2024-01-01", "toDate": "2024-01-31"},
    "format": "CSV",
    "callbackUrl": "https://client.example.com/hooks/report-completed",
}
"""The example of the published contract."""


@cache
def shipped_catalogue() -> Catalogue:
    """Return the report types that the project ships."""
    return load_catalogue(CATALOGUE)


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class FakeBus:
    """Keeps what is published, or is away, or takes no more."""

    def __init__(self) -> None:
        self.published: list[OutgoingMessage] = []
        self.is_away = False
        self.is_full = False

    async def publish_one(self, message: OutgoingMessage) -> None:
        if self.is_full:
            raise OverloadedError
        if self.is_away:
            raise BusUnavailableError("not connected to Kafka")
        self.published.append(message)


class FakeKeys:
    """Keys as a table would keep them, or is away."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], RememberedRequest] = {}
        self.is_away = False

    async def claim(self, request: KeyedRequest) -> RememberedRequest:
        self._answer()
        new = RememberedRequest(
            request.fingerprint, request.message, is_acknowledged=False, is_new=False
        )
        found = self.rows.setdefault((request.tenant, request.key), new)
        return replace(found, is_new=found is new)

    async def find(self, tenant: str, key: str) -> RememberedRequest | None:
        self._answer()
        return self.rows.get((tenant, key))

    async def acknowledge(self, requests: Collection[tuple[str, str]]) -> None:
        self._answer()
        for request in requests:
            self.rows[request] = replace(self.rows[request], is_acknowledged=True)

    async def purge(self, before: JobId, limit: int) -> int:
        self._answer()
        old = [name for name, row in self.rows.items() if row.message.key.decode() < before]
        for name in old[:limit]:
            del self.rows[name]
        return len(old[:limit])

    def _answer(self) -> None:
        if self.is_away:
            raise KeysUnavailableError("TimeoutError")


class FakeReadModel:
    """Jobs by tenant; remembers the bounds of the last listing."""

    def __init__(self) -> None:
        self.jobs: dict[str, list[Job]] = {}
        self.deleted: set[str] = set()
        self.requests: dict[str, RequestedReport] = {}
        self.is_away = False
        self.bounds: tuple[str, str] | None = None
        self.reads: list[list[JobId]] = []

    def add(self, job: Job, tenant: str = "default") -> Job:
        self.jobs.setdefault(tenant, []).append(job)
        return job

    async def get(self, job_id: JobId, tenant: str) -> Job | None:
        self._answer()
        if job_id in self.deleted:
            raise JobDeletedError
        return next((job for job in self.jobs.get(tenant, []) if job.job_id == job_id), None)

    async def get_linked(self, job_id: JobId) -> Job | None:
        self._answer()
        found = (job for jobs in self.jobs.values() for job in jobs if job.job_id == job_id)
        return next(found, None)

    async def current(
        self, asked: Collection[tuple[JobId, str]]
    ) -> dict[tuple[JobId, str], Job | None]:
        self._answer()
        self.reads.append([job_id for job_id, _ in asked])
        return {
            (job_id, tenant): None if job_id in self.deleted else job
            for job_id, tenant in asked
            for job in self.jobs.get(tenant, [])
            if job.job_id == job_id
        }

    def replace(self, job: Job) -> Job:
        """Put another state of a job in the place of the one that is there."""
        for jobs in self.jobs.values():
            jobs[:] = [job if other.job_id == job.job_id else other for other in jobs]
        return job

    async def request_of(self, job_id: JobId, tenant: str) -> RequestedReport | None:
        job = await self.get(job_id, tenant)
        return self.requests.get(job_id) if job is not None else None

    async def newest(
        self, tenant: str, chosen: JobFilter, *, first: JobId, before: JobId, limit: int
    ) -> list[Job]:
        self._answer()
        self.bounds = (first, before)
        found = (
            job
            for job in self.jobs.get(tenant, [])
            if first <= job.job_id < before
            and chosen.status in {None, job.status}
            and chosen.report_type in {None, job.report_type}
        )
        return sorted(found, key=lambda job: job.job_id, reverse=True)[:limit]

    async def known(self, runs: Mapping[JobId, int]) -> set[JobId]:
        self._answer()
        rows = {job.job_id: job.run for jobs in self.jobs.values() for job in jobs}
        return {job_id for job_id, run in runs.items() if rows.get(job_id, 0) >= run}

    async def count_active(self, tenants: Collection[str], limit: int) -> dict[str, int]:
        self._answer()
        return {
            tenant: min(sum(not job.status.is_terminal for job in self.jobs.get(tenant, [])), limit)
            for tenant in tenants
        }

    def _answer(self) -> None:
        if self.is_away:
            raise ReadModelUnavailableError("TimeoutError")


class FakeArtifacts:
    """Files by path, streamed unless `signs_urls`."""

    def __init__(self) -> None:
        self.files: dict[str, Sequence[bytes]] = {}
        self.signs_urls = False

    async def signed_url(self, path: str, method: str, longest: timedelta) -> str:
        lifetime = int(min(longest, URL_LIFETIME).total_seconds())
        return f"https://store.example.com/{path}?X-Method={method}&X-Expires={lifetime}"

    async def size(self, path: str) -> int:
        return sum(map(len, self._chunks(path)))

    async def open(self, path: str, part: ByteRange | None) -> OpenArtifact:
        async def chunks() -> AsyncGenerator[bytes, None]:
            if part is not None:
                yield b"".join(self._chunks(path))[part.start : part.end]
                return
            for chunk in self._chunks(path):
                yield chunk

        return OpenArtifact(await self.size(path), chunks())

    def _chunks(self, path: str) -> Sequence[bytes]:
        if path not in self.files:
            raise ArtifactMissingError(path)
        return self.files[path]


@dataclass(frozen=True, slots=True)
class FakeGateway:
    """The application and the fakes behind it."""

    clock: FakeClock = field(default_factory=FakeClock)
    bus: FakeBus = field(default_factory=FakeBus)
    keys: FakeKeys = field(default_factory=FakeKeys)
    read_model: FakeReadModel = field(default_factory=FakeReadModel)
    artifacts: FakeArtifacts = field(default_factory=FakeArtifacts)
    access: Access = field(default_factory=OpenAccess)
    rate_limits: RateLimits = field(default_factory=RateLimits)
    active_jobs: ActiveJobs = field(default_factory=lambda: ActiveJobs(FakeReadModel(), None))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    catch_up_seconds: float = CATCH_UP_SECONDS
    report_types: Sequence[str] | None = None
    """Those of the catalogue that are offered; all where it is None."""

    @property
    def job_ids(self) -> JobIds:
        return JobIds(KEYS, self.clock)

    @property
    def links(self) -> DownloadLinks:
        return DownloadLinks("https://reports.example.com/v1", KEYS, self.clock)

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.read_model, self.job_ids, self.links, RETENTION, self.clock)

    @property
    def catalogue(self) -> Catalogue:
        shipped = shipped_catalogue()
        if self.report_types is None:
            return shipped
        return Catalogue([one for one in shipped if one.name in self.report_types])

    @property
    def submissions(self) -> Submissions:
        return Submissions(
            catalogue=self.catalogue,
            callback_policy=CallbackPolicy(),
            job_ids=self.job_ids,
            publisher=self.bus,
            active_jobs=self.active_jobs,
            clock=self.clock,
            metrics=SubmissionMetrics(self.registry),
        )

    @property
    def downloads(self) -> Downloads:
        return Downloads(self.jobs, self.links, self.artifacts)

    def changes(self, capacity: int = 100, tenant_capacity: int = 100) -> Changes:
        """Return what wakes those who wait; only where its `run` runs, they are woken."""
        return Changes(
            self.read_model,
            capacity=capacity,
            tenant_capacity=tenant_capacity,
            metrics=ChangeMetrics(CollectorRegistry()),
        )

    def application(self, changes: Changes | None = None) -> Starlette:
        """Return the ASGI application."""
        app = assemble(RequestMetrics(self.registry))
        submissions = self.submissions
        changes = changes or self.changes()
        app.state.services = Services(
            access=self.access,
            rate_limits=self.rate_limits,
            submissions=submissions,
            keyed_submissions=KeyedSubmissions(
                submissions, self.keys, memory=memory(RETENTION), clock=self.clock
            ),
            jobs=self.jobs,
            representations=Representations(self.jobs),
            following=Following(self.jobs, changes, PACE),
            actions=Actions(
                self.jobs,
                changes,
                self.read_model,
                self.bus,
                self.active_jobs,
                self.clock,
                self.catch_up_seconds,
            ),
            downloads=self.downloads,
            report_types=ReportTypeList.of(shipped_catalogue()).json_bytes(),
            revision=revision_of(self.links, RETENTION),
            path_prefix="/v1",
            body_timeout=BODY_TIMEOUT,
            client_timeout=CLIENT_TIMEOUT,
            longest_wait=60,
        )
        return app

    def client(self) -> httpx.AsyncClient:
        """Return a client of the application; a defect becomes a 500 as it would in a server."""
        return client_of(self.application())


def client_of(app: Starlette) -> httpx.AsyncClient:
    """Return a client that calls `app` in this process."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")
