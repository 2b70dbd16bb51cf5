"""The status-projector's composition root: builds everything once and gives it its life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette

from shared.bus import BusConnection, BusPublisher, LogReader, Pace, ReaderTimes, make_broker
from shared.bus.stored_log import open_log
from shared.clock import utc_now
from shared.database import revisions
from shared.database.pool import open_database
from shared.database.purging import PurgeRules
from shared.service import read_when_connected, readiness_checks, running
from shared.settings import KafkaSettings, RetentionSettings
from shared.telemetry.metrics import ReaderMetrics, new_registry
from shared.telemetry.probes import Check, Heartbeat, probe_routes
from shared.topics import Topic
from status_projector.handlers import UNHURRIED, EventsHandler
from status_projector.metrics import ProjectorMetrics
from status_projector.service import (
    Projector,
    Purger,
    Rebuilt,
    Verdict,
    rebuild,
    verify,
)
from status_projector.settings import Settings

SERVICE: Final = "status-projector"
SCHEMA: Final = "read_model"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
TOPICS: Final = (Topic.REQUESTS, Topic.EVENTS)
_SILENCE_LIMIT: Final = 60.0


def build_app(settings: Settings) -> Starlette:
    """Build the service; nothing is connected or started before its lifespan begins."""
    kafka, retention = KafkaSettings(), RetentionSettings().report_retention
    registry = new_registry()
    metrics = ProjectorMetrics(registry)
    heartbeat = Heartbeat(limit=_SILENCE_LIMIT)
    checks: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        broker = make_broker(kafka, service=SERVICE)
        connection = BusConnection(broker, kafka)
        async with open_database(settings, schema=SCHEMA, service=SERVICE) as database:
            projector = Projector(database, kafka.topic(Topic.REQUESTS))
            purger = Purger(database, projector, PurgeRules(retention), utc_now)
            reader = LogReader(
                broker,
                topics=TOPICS,
                group=SERVICE,
                settings=kafka,
                database=database,
                dead_letters=BusPublisher(broker, connection, kafka),
                handle=EventsHandler(projector, metrics, utc_now).handle,
                metrics=ReaderMetrics(registry),
                heartbeat=heartbeat,
                unhurried=UNHURRIED,
                times=ReaderTimes(pace=Pace(patience=settings.patience)),
                max_records=settings.max_batch,
            )
            checks.update(
                readiness_checks(database, connection, reader, revision=revisions.head(MIGRATIONS))
            )
            async with running(
                {"reader": read_when_connected(connection, reader), "purger": purger.run()}
            ):
                yield
            await connection.close()

    routes = probe_routes(heartbeats={"reader": heartbeat}, checks=checks, registry=registry)
    return Starlette(routes=routes, lifespan=lifespan)


async def check_read_model(settings: Settings) -> Verdict:
    """Compare the read model with the log; the service may be running or not."""
    kafka = KafkaSettings()
    async with (
        open_database(settings, schema=SCHEMA, service=f"{SERVICE}-verify") as database,
        open_log(kafka, TOPICS) as log,
    ):
        return await verify(
            database,
            log,
            requests_topic=kafka.topic(Topic.REQUESTS),
            wait=settings.verify_wait,
        )


async def rebuild_read_model(settings: Settings) -> Rebuilt:
    """Replace what isn't the fold of the log; the service may be running or not."""
    kafka = KafkaSettings()
    async with (
        open_database(settings, schema=SCHEMA, service=f"{SERVICE}-rebuild") as database,
        open_log(kafka, TOPICS) as log,
    ):
        return await rebuild(database, log, requests_topic=kafka.topic(Topic.REQUESTS))
