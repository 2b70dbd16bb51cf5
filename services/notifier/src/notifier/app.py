"""The notifier's composition root: builds everything once and gives it its life."""

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette

from notifier.client import WebhookClient
from notifier.handlers import WANTED, EventsHandler, has_callback
from notifier.metrics import NotifierMetrics
from notifier.resolver import GuardedResolver
from notifier.service import (
    Deliveries,
    DeliveryRules,
    Purger,
    Sender,
    SenderTimes,
)
from notifier.settings import Settings
from shared.bus import BusConnection, BusPublisher, LogReader, Pace, ReaderTimes, make_broker
from shared.callback import CallbackPolicy
from shared.clock import utc_now
from shared.database import revisions
from shared.database.pool import open_database
from shared.database.purging import PurgeRules
from shared.links import DownloadLinks
from shared.outbox import Outbox
from shared.service import read_when_connected, readiness_checks, running
from shared.settings import CallbackSettings, JobSettings, KafkaSettings, LinkSettings
from shared.telemetry.metrics import OutboxMetrics, ReaderMetrics, new_registry
from shared.telemetry.probes import Check, Heartbeat, probe_routes
from shared.topics import Topic

SERVICE: Final = "notifier"
SCHEMA: Final = "notifier"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_SILENCE_LIMIT: Final = 60.0


def build_app(settings: Settings) -> Starlette:
    """Build the service; nothing is connected or started before its lifespan begins."""
    kafka, jobs, links = KafkaSettings(), JobSettings(), LinkSettings()
    policy = CallbackPolicy(CallbackSettings().networks)
    rules = DeliveryRules(settings.schedule, settings.slots_per_destination, settings.lease)
    download_links = DownloadLinks(links.public_url, links.key_ring, utc_now)
    tls = ssl.create_default_context()
    registry = new_registry()
    metrics = NotifierMetrics(registry)
    heartbeats = {name: Heartbeat(limit=_SILENCE_LIMIT) for name in ("reader", "sender")}
    checks: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        broker = make_broker(kafka, service=SERVICE)
        connection = BusConnection(broker, kafka)
        publisher = BusPublisher(broker, connection, kafka)
        async with (
            open_database(settings, schema=SCHEMA, service=SERVICE) as database,
            _client(policy, tls, settings) as client,
        ):
            outbox = Outbox(database, publisher, OutboxMetrics(registry))
            deliveries = Deliveries(
                database, outbox, rules, clock=utc_now, chance=random.random, metrics=metrics
            )
            sender = Sender(
                deliveries,
                client,
                settings.signing_keys,
                slots=settings.slots,
                clock=utc_now,
                heartbeat=heartbeats["sender"],
                times=SenderTimes(poll=settings.poll),
            )
            handler = EventsHandler(
                deliveries, download_links, jobs.report_retention, utc_now, sender.wake
            )
            reader = LogReader(
                broker,
                topics=(Topic.EVENTS,),
                group=SERVICE,
                settings=kafka,
                database=database,
                dead_letters=publisher,
                handle=handler.handle,
                wanted=WANTED,
                concerns=has_callback,
                times=ReaderTimes(pace=Pace(gather=settings.gather)),
                metrics=ReaderMetrics(registry),
                heartbeat=heartbeats["reader"],
            )
            checks.update(
                readiness_checks(database, connection, reader, revision=revisions.head(MIGRATIONS))
            )
            purger = Purger(database, PurgeRules(jobs.report_retention), utc_now)
            async with running(
                {
                    "outbox": outbox.run_publisher(),
                    "sweeper": outbox.run_sweeper(),
                    "purger": purger.run(),
                }
            ):
                async with running({"recorder": sender.run_recorder()}):
                    async with running(
                        {
                            "reader": read_when_connected(connection, reader),
                            "sender": sender.run(),
                            "reaper": sender.run_reaper(),
                        }
                    ):
                        yield
                    # Nothing new is claimed; what is under way may end and be recorded.
                    await sender.drain(settings.drain)
                await sender.record_rest()
                await outbox.drain()
            await connection.close()

    routes = probe_routes(heartbeats=heartbeats, checks=checks, registry=registry)
    return Starlette(routes=routes, lifespan=lifespan)


@asynccontextmanager
async def _client(
    policy: CallbackPolicy, tls: ssl.SSLContext, settings: Settings
) -> AsyncIterator[WebhookClient]:
    resolver = GuardedResolver(policy, timeout=settings.dns_timeout)
    client = WebhookClient(policy, resolver, tls, settings.limits)
    try:
        yield client
    finally:
        await client.close()
        await resolver.close()
