"""What the notifier's integration tests share besides fixtures."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

from prometheus_client import CollectorRegistry

from notifier.app import MIGRATIONS, SCHEMA
from notifier.client import ClientLimits, WebhookClient
from notifier.domain import AttemptResult, ErrorClass
from notifier.metrics import NotifierMetrics
from notifier.resolver import GuardedResolver
from notifier.service import Deliveries, DeliveryRules, Sender, SenderTimes
from notifier.service.sender import Posts
from notifier.signing import parse_signing_keys
from shared.callback import CallbackPolicy
from shared.clock import utc_now
from shared.database.migrations import migrate
from shared.database.pool import Database, open_database
from shared.events import OutgoingMessage
from shared.outbox import Outbox
from shared.service import running
from shared.telemetry.metrics import OutboxMetrics
from shared.telemetry.probes import Heartbeat
from tests.support.servers import DatabaseUrls, patient_settings
from tests.unit.notifier.samples import SECRET
from tests.unit.notifier.servers import RawServer

LOCAL = CallbackPolicy((ip_network("127.0.0.0/8"), ip_network("::1/128")))
PATIENCE = 120
"""Seconds after which a condition is given up; far more than a busy machine needs."""
SLOW_MACHINE = ClientLimits(dns=PATIENCE, connect=PATIENCE, total=10 * PATIENCE)
"""For attempts that must not end because the machine is slow."""


class KeptMessages:
    """A bus that acknowledges everything and keeps it."""

    def __init__(self) -> None:
        self.messages: list[OutgoingMessage] = []

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        self.messages += messages
        return list(messages)


@asynccontextmanager
async def open_notifier_database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """Open a database as the notifier, its schema up to date."""
    await asyncio.to_thread(migrate, urls.notifier, schema=SCHEMA, directory=MIGRATIONS)
    settings = patient_settings(urls.notifier)
    async with open_database(settings, schema=SCHEMA, service="notifier") as opened:
        yield opened


def deliveries_on(database: Database, bus: KeptMessages, rules: DeliveryRules) -> Deliveries:
    """Build deliveries without jitter."""
    registry = CollectorRegistry()
    return Deliveries(
        database,
        Outbox(database, bus, OutboxMetrics(registry)),
        rules,
        clock=utc_now,
        chance=lambda: 0.0,
        metrics=NotifierMetrics(registry),
    )


@dataclass(frozen=True, slots=True)
class Received:
    """A request as a receiver sees it."""

    headers: dict[str, str]
    body: bytes


def received(server: RawServer) -> list[Received]:
    return [_parse(request) for request in server.requests]


def _parse(request: bytes) -> Received:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.decode().partition(": ") for line in head.split(b"\r\n")[1:]]
    return Received({name.lower(): value for name, _, value in lines}, body)


@dataclass(slots=True)
class Answers:
    """Answers each request with the next status, the last of them for ever."""

    statuses: list[int]
    given: list[int] = field(default_factory=list)

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status = self.statuses[min(len(self.given), len(self.statuses) - 1)]
        self.given.append(status)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        await writer.drain()


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Answer nothing."""
    await reader.read()


@asynccontextmanager
async def a_sender(
    deliveries: Deliveries,
    *,
    policy: CallbackPolicy = LOCAL,
    slots: int = 8,
    limits: ClientLimits = SLOW_MACHINE,
    poll: float = 0.2,
    posts: Posts | None = None,
) -> AsyncIterator[Sender]:
    """Run a sender with its client; it is cut off at the end, as by a crash."""
    resolver = GuardedResolver(policy, timeout=limits.dns)
    client = WebhookClient(policy, resolver, ssl.create_default_context(), limits)
    sender = Sender(
        deliveries,
        posts or client,
        parse_signing_keys(SECRET),
        slots=slots,
        clock=utc_now,
        heartbeat=Heartbeat(limit=60),
        times=SenderTimes(poll=poll),
    )
    loops = {
        "sender": sender.run(),
        "recorder": sender.run_recorder(),
        "reaper": sender.run_reaper(),
    }
    try:
        async with running(loops):
            yield sender
    finally:
        await sender.drain(0)
        await client.close()
        await resolver.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; it fails the test where it doesn't come true."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)


async def states(database: Database) -> dict[str, int]:
    async with database.connection() as conn:
        rows = await conn.fetch("SELECT state, count(*) AS n FROM deliveries GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def history(database: Database) -> list[tuple[int, str | None, int | None]]:
    """Number, error and status of every attempt, by delivery."""
    async with database.connection() as conn:
        rows = await conn.fetch("SELECT * FROM attempts ORDER BY delivery_id, number")
    return [(row["number"], row["error"], row["status"]) for row in rows]


async def outbox_events(database: Database) -> list[dict[str, Any]]:
    """The events stored for publication, each with its type."""
    async with database.connection() as conn:
        rows = await conn.fetch("SELECT headers, value FROM outbox ORDER BY created_at")
    return [json.loads(r["value"]) | {"type": json.loads(r["headers"])["ce_type"]} for r in rows]


async def expire_leases(database: Database) -> None:
    """Let time pass: every lease has run out."""
    async with database.connection() as conn:
        await conn.execute(
            "UPDATE deliveries SET lease_until = now() - interval '1 s' WHERE state = 'in_flight'"
        )


def ok() -> AttemptResult:
    return AttemptResult(None, timedelta(milliseconds=5), 200)


def failure(status: int = 500, retry_after: str | None = None) -> AttemptResult:
    return AttemptResult(
        ErrorClass.STATUS, timedelta(milliseconds=5), status, retry_after, f"status {status}"
    )
