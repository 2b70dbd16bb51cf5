"""The gateway's composition root: builds everything once and gives it its life."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import Lifespan

from gateway.authentication import build_access, rate_limits
from gateway.domain import memory
from gateway.metrics import ChangeMetrics, RequestMetrics, SubmissionMetrics
from gateway.routes import ROUTES, docs, failures, openapi
from gateway.routes.contract import ReportTypeList
from gateway.routes.observing import ObservedRequests
from gateway.routes.representations import Representations
from gateway.routes.revision import revision_of
from gateway.routes.services import Services
from gateway.service import (
    Access,
    Actions,
    ActiveJobs,
    BoundedPublisher,
    Downloads,
    Jobs,
    KeyAdministration,
    KeyedSubmissions,
    Submissions,
)
from gateway.service.changes import Changes
from gateway.service.following import Following, Pace
from gateway.service.submissions import Publisher
from gateway.settings import Settings
from gateway.store import CHANGED_CHANNEL, ApiKeyStore, ArtifactStore, IdempotencyKeys, ReadModel
from shared.bus import BusConnection, BusPublisher, make_broker
from shared.callback import CallbackPolicy
from shared.catalogue import Catalogue, load_catalogue
from shared.clock import utc_now
from shared.database import revisions
from shared.database.listen import listen
from shared.database.pool import Database, open_database
from shared.http_protocol import possible_connections
from shared.job_id import JobIds
from shared.links import DownloadLinks
from shared.service import require_revision, running
from shared.serving import STOPPING
from shared.settings import (
    ArtifactSettings,
    CallbackSettings,
    CatalogueSettings,
    JobSettings,
    KafkaSettings,
    LinkSettings,
)
from shared.telemetry.metrics import new_registry
from shared.telemetry.probes import Check, probe_routes

SERVICE: Final = "gateway"
SCHEMA: Final = "gateway"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_CATCH_UP_SECONDS: Final = 2.0
"""How long an answer waits for the read model to have caught up with it."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is read once at the start, so that a mistake in it ends the start."""

    settings: Settings
    jobs: JobSettings
    links: LinkSettings
    callbacks: CallbackSettings
    catalogue: Catalogue
    artifacts: ArtifactStore
    metrics: SubmissionMetrics
    change_metrics: ChangeMetrics


def build_app(settings: Settings) -> Starlette:
    """Build the service; nothing is connected before its lifespan begins."""
    kafka = KafkaSettings()
    registry = new_registry()
    parts = _Parts(
        settings=settings,
        jobs=JobSettings(),
        links=LinkSettings(),
        callbacks=CallbackSettings(),
        catalogue=load_catalogue(CatalogueSettings().catalogue_dir),
        artifacts=ArtifactStore(
            ArtifactSettings().artifacts_url, settings.store_timeout, settings.url_lifetime
        ),
        metrics=SubmissionMetrics(registry),
        change_metrics=ChangeMetrics(registry),
    )
    checks: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, object]]:
        broker = make_broker(kafka, service=SERVICE)
        connection = BusConnection(broker, kafka)
        publisher = BoundedPublisher(
            BusPublisher(broker, connection, kafka), settings.max_publishing, parts.metrics
        )
        async with open_database(settings, schema=SCHEMA, service=SERVICE) as database:
            read_model = ReadModel(database, _statement_timeout(settings))
            changes = Changes(
                read_model,
                capacity=settings.watchers(possible_connections(settings.max_connections)),
                tenant_capacity=settings.max_tenant_watchers,
                metrics=parts.change_metrics,
            )
            way_in = build_access(settings, database, _statement_timeout(settings))
            services = _services(parts, way_in.access, read_model, database, publisher, changes)
            app.state.services = services
            checks.update(_checks(database, read_model, connection) | way_in.checks)
            loops = {
                **way_in.loops,
                "active jobs": services.submissions.active_jobs.keep_counting(),
                "kafka": connection.connect(),
                "acknowledger": services.keyed_submissions.run_acknowledger(),
                "key purger": services.keyed_submissions.run_purger(),
                "changes": changes.run(),
                "listener": listen(
                    settings,
                    service=SERVICE,
                    channels={**way_in.channels, CHANGED_CHANNEL: changes.wake},
                ),
            }
            async with running(loops):
                # Streams and waits are open answers: they end when the server begins to stop.
                yield {STOPPING: changes.stop}
            await services.keyed_submissions.drain()
            await connection.close()

    app = assemble(RequestMetrics(registry), lifespan)
    app.router.routes.extend(probe_routes(heartbeats={}, checks=checks, registry=registry))
    return app


@asynccontextmanager
async def open_key_administration(settings: Settings) -> AsyncIterator[KeyAdministration]:
    """Connect what the command `keys` needs."""
    async with open_database(settings, schema=SCHEMA, service=SERVICE) as database:
        yield KeyAdministration(ApiKeyStore(database, _statement_timeout(settings)))


def assemble(metrics: RequestMetrics, lifespan: Lifespan[Starlette] | None = None) -> Starlette:
    """Return the application with all that a request passes through; its services come apart.

    FastAPI declares and documents the routes. Its application would add telemetry, a limit for
    bodies and a stack for uploads to every request; none of them is used here.
    """
    app = Starlette(
        routes=[*ROUTES, openapi.route(), *docs.routes()],
        middleware=[Middleware(ObservedRequests, metrics=metrics)],
        exception_handlers=failures.handlers(),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # it would redirect to the client's own Host header
    return app


def _services(
    parts: _Parts,
    access: Access,
    read_model: ReadModel,
    database: Database,
    publisher: Publisher,
    changes: Changes,
) -> Services:
    job_ids = JobIds(parts.jobs.key_ring, utc_now)
    links = DownloadLinks(parts.links.public_url, parts.links.key_ring, utc_now)
    jobs = Jobs(
        source=read_model,
        job_ids=job_ids,
        links=links,
        retention=parts.jobs.report_retention,
        clock=utc_now,
    )
    submissions = Submissions(
        catalogue=parts.catalogue,
        callback_policy=CallbackPolicy(parts.callbacks.networks),
        job_ids=job_ids,
        publisher=publisher,
        active_jobs=ActiveJobs(read_model, parts.settings.max_active_jobs or None),
        clock=utc_now,
        metrics=parts.metrics,
    )
    return Services(
        access=access,
        rate_limits=rate_limits(parts.settings),
        submissions=submissions,
        keyed_submissions=KeyedSubmissions(
            submissions,
            IdempotencyKeys(database, _statement_timeout(parts.settings)),
            memory=memory(parts.jobs.report_retention),
            clock=utc_now,
        ),
        jobs=jobs,
        representations=Representations(jobs),
        following=Following(
            jobs, changes, Pace(parts.settings.stream_quiet, parts.settings.stream_longest)
        ),
        actions=Actions(
            jobs,
            changes,
            read_model,
            publisher,
            submissions.active_jobs,
            utc_now,
            _CATCH_UP_SECONDS,
        ),
        downloads=Downloads(jobs, links, parts.artifacts),
        report_types=ReportTypeList.of(parts.catalogue).json_bytes(),
        revision=revision_of(links, parts.jobs.report_retention),
        path_prefix=urlsplit(parts.links.public_url).path,
        body_timeout=parts.settings.body_timeout,
        client_timeout=parts.settings.client_timeout,
        longest_wait=parts.settings.longest_wait,
    )


def _checks(database: Database, read_model: ReadModel, bus: BusConnection) -> dict[str, Check]:
    revision = revisions.head(MIGRATIONS)
    return {
        "database": lambda: require_revision(database, revision),
        "read_model": read_model.check,
        "kafka": bus.ping,
    }


def _statement_timeout(settings: Settings) -> float:
    return settings.database_connect_timeout + settings.database_command_timeout
