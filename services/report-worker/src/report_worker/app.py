"""The report-worker's composition root: builds everything once and gives it its life."""

import os
import socket
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from obstore.exceptions import BaseError
from pydantic import ValidationError
from starlette.applications import Starlette

from report_worker.check import plugin_mistakes, source_mistakes
from report_worker.domain import UNREADABLE, Attempt, Outcome, RetryPolicy, artifact_folder
from report_worker.execution.child_pool import ChildPool
from report_worker.execution.protocol import Assignment, Setup
from report_worker.handlers import WANTED, RequestsHandler
from report_worker.metrics import WorkerMetrics
from report_worker.service import (
    Dispatcher,
    DispatcherTimes,
    Queue,
    QueueTimes,
    Retention,
    Slots,
    Sweeper,
    SweepTimes,
)
from report_worker.settings import Settings
from report_worker.store import CANCELLED, CHANNEL, PLANNING
from report_worker.store.artifacts import Artifacts, open_artifacts
from shared.backoff import Backoff
from shared.bus import BusConnection, BusPublisher, LogReader, make_broker
from shared.catalogue import Catalogue, CatalogueError, Limits, load_files
from shared.clock import utc_now
from shared.database import revisions
from shared.database.listen import listen
from shared.database.pool import open_database
from shared.events import Progress, RequestedReport
from shared.job_id import JobIds
from shared.outbox import Outbox
from shared.report_request import ReportRequest
from shared.service import read_when_connected, readiness_checks, running
from shared.settings import (
    ArtifactSettings,
    CatalogueSettings,
    JobSettings,
    KafkaSettings,
    LogSettings,
)
from shared.telemetry.metrics import OutboxMetrics, ReaderMetrics, new_registry
from shared.telemetry.probes import Check, Heartbeat, probe_routes
from shared.topics import Topic

SERVICE: Final = "report-worker"
SCHEMA: Final = "report_worker"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_SILENCE_LIMIT: Final = 60.0


class _Children:
    """Runs attempts in the child pool, each for no longer than its type allows."""

    def __init__(self, pool: ChildPool, catalogue: Catalogue) -> None:
        self._pool = pool
        self._catalogue = catalogue

    @property
    def capacity(self) -> int:
        return self._pool.capacity

    async def execute(
        self,
        attempt: Attempt,
        on_progress: Callable[[Progress], None],
    ) -> Outcome:
        request = _strict(attempt.request)
        if request is None:
            return UNREADABLE
        assignment = Assignment(
            job_id=attempt.job_id,
            run=attempt.run,
            attempt=attempt.attempt,
            folder=artifact_folder(attempt),
            request=request,
            started_at=attempt.started_at,
            max_duration=self._max_duration(attempt.report_type).total_seconds(),
        )
        return await self._pool.execute(assignment, on_progress)

    def _max_duration(self, report_type: str) -> timedelta:
        """Return how long an attempt may take; one of a type that is gone ends by itself."""
        declared = self._catalogue.get(report_type)
        return declared.limits.max_duration if declared else Limits().max_duration


def _strict(request: RequestedReport | None) -> ReportRequest | None:
    """Read a stored request again; None where this version of the worker refuses it."""
    if request is None:
        return None
    try:
        return ReportRequest.model_validate(request.model_dump(by_alias=True))
    except ValidationError:
        return None


def build_app(settings: Settings) -> Starlette:
    """Build the service; nothing is connected or started before its lifespan begins."""
    kafka, jobs = KafkaSettings(), JobSettings()
    catalogue = _load_catalogue(CatalogueSettings().catalogue_dir, settings.source_urls)
    setup = _child_setup(settings, catalogue)
    artifacts = _open_artifacts(setup.artifacts_url)
    registry = new_registry()
    metrics = WorkerMetrics(registry)
    heartbeats = {name: Heartbeat(limit=_SILENCE_LIMIT) for name in ("reader", "beat")}
    checks: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        broker = make_broker(kafka, service=SERVICE)
        connection = BusConnection(broker, kafka)
        publisher = BusPublisher(broker, connection, kafka)
        pool = ChildPool(setup, size=settings.slots)
        policy = _retry_policy(settings)
        async with open_database(
            settings, schema=SCHEMA, service=SERVICE, session=PLANNING
        ) as database:
            outbox = Outbox(database, publisher, OutboxMetrics(registry))
            queue = Queue(
                database,
                outbox,
                policy=policy,
                times=QueueTimes(lease=settings.lease, grace=settings.grace),
                worker=f"{socket.gethostname()}/{os.getpid()}",
                clock=utc_now,
                metrics=metrics,
                tenant_limit=settings.tenant_limit,
            )
            slots = Slots(_Children(pool, catalogue), policy=policy, metrics=metrics)
            dispatcher = Dispatcher(
                queue,
                slots,
                times=DispatcherTimes(beat=settings.beat, beat_limit=settings.lease / 3),
                heartbeat=heartbeats["beat"],
            )
            artifact_sweeper = Sweeper(
                database,
                artifacts,
                retention=jobs.report_retention,
                times=SweepTimes(grace=settings.sweep_grace, round=settings.sweep_every),
                metrics=metrics,
            )
            handler = RequestsHandler(
                catalogue,
                JobIds(jobs.key_ring, utc_now),
                queue,
                slots,
                retention=jobs.report_retention,
            )
            reader = LogReader(
                broker,
                topics=(Topic.REQUESTS,),
                group=SERVICE,
                settings=kafka,
                database=database,
                dead_letters=publisher,
                handle=handler.handle,
                metrics=ReaderMetrics(registry),
                heartbeat=heartbeats["reader"],
                wanted=WANTED,
                objection=handler.objection,
            )
            checks.update(
                readiness_checks(database, connection, reader, revision=revisions.head(MIGRATIONS))
                | {"children": pool.require_children}
            )
            async with (
                pool.warm(dispatcher.wake),
                running(
                    {
                        "outbox": outbox.run_publisher(),
                        "sweeper": outbox.run_sweeper(),
                        "finisher": dispatcher.run_finisher(),
                        "beat": dispatcher.run_beat(),
                        "deleted artifacts": artifact_sweeper.run_deleted(),
                        "stray artifacts": artifact_sweeper.run_rounds(),
                        "retention": Retention(database, jobs.report_retention, utc_now).run(),
                        "listener": listen(
                            settings,
                            service=SERVICE,
                            channels={CHANNEL: lambda word: _wake(dispatcher, queue, word)},
                        ),
                    }
                ),
            ):
                async with running({"reader": read_when_connected(connection, reader)}):
                    yield
                # Intake has stopped; what runs may end, and its events still go out.
                await dispatcher.drain(settings.drain)
                await outbox.drain()
            await connection.close()

    routes = probe_routes(heartbeats=heartbeats, checks=checks, registry=registry)
    return Starlette(routes=routes, lifespan=lifespan)


def _load_catalogue(directory: Path, sources: Collection[str]) -> Catalogue:
    """Read the catalogue, and see that sources and plugins are there; raises `CatalogueError`."""
    files = load_files(directory)
    mistakes = [*source_mistakes(files, sources), *plugin_mistakes(files)]
    if mistakes:
        raise CatalogueError(mistakes)
    return Catalogue(file.report_type for file in files)


def _child_setup(settings: Settings, catalogue: Catalogue) -> Setup:
    return Setup(
        catalogue=tuple(catalogue),
        sources=settings.source_urls,
        artifacts_url=ArtifactSettings().artifacts_url,
        log_level=LogSettings().log_level,
        memory_limit=settings.child_memory,
    )


def _wake(dispatcher: Dispatcher, queue: Queue, word: str) -> None:
    """Pass on what a worker said; after a new connection neither word may have been heard."""
    if word in ("", CANCELLED):
        dispatcher.wake_beat()
    if word != CANCELLED:
        queue.hear_of_waiting()
        dispatcher.wake()


def _open_artifacts(url: str) -> Artifacts:
    try:
        return open_artifacts(url)
    except (BaseError, ValueError) as error:
        # The URL may hold credentials, and the error may quote it.
        problem = "is not the URL of an artifact store that can be opened, such as file:///reports"
        raise ValueError(f"ARTIFACTS_URL {problem} ({type(error).__name__})") from None


def _retry_policy(settings: Settings) -> RetryPolicy:
    return RetryPolicy(
        max_failures=settings.max_failures,
        max_losses=settings.max_losses,
        backoff=Backoff(first=settings.retry_first, longest=settings.retry_longest),
    )
