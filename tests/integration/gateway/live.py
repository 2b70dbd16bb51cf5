"""A gateway that is served over HTTP, and a read model that tests write like the projector."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import build_app
from gateway.settings import Settings
from local_stack.polling import poll_until
from shared.bus.topics import ensure_topics
from shared.job_id import JobId
from tests.integration.gateway.bench import RETENTION, Bench, bus_settings
from tests.support.event_stream import EventReader
from tests.support.servers import DatabaseUrls
from tests.support.serving import Served, serving

SECONDS = 90.0
"""No condition may take longer."""
LONG: Final = "600"
"""Seconds that no test lasts: who waits so long waits for ever."""

# The one connection listens to the channel of the read model last; from time to time it is probed.
_LISTENERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'gateway-listen'
      AND (query LIKE 'LISTEN%report_jobs_read_model%' OR query = 'SELECT 1') AND state = 'idle'
"""


@dataclass(frozen=True, slots=True)
class Live:
    """A served gateway, its client, and the read model behind it."""

    served: Served
    client: httpx.AsyncClient
    bench: Bench
    admin: "asyncpg.Connection[asyncpg.Record]"

    def new_id(self) -> JobId:
        """Return an id as a submission gets it."""
        return self.bench.job_ids.new("default")

    async def add(self, **columns: Any) -> JobId:
        """Add a job and tell that it changed."""
        job_id = self.new_id()
        await self.bench.add_job(job_id, **columns)
        await self.notify(job_id)
        return job_id

    async def change(self, job_id: str, **columns: Any) -> None:
        """Change a job and tell so."""
        await self.change_silently(job_id, **columns)
        await self.notify(job_id)

    async def change_silently(self, job_id: str, **columns: Any) -> None:
        """Change a job, as if the notification were lost."""
        assignments = ", ".join(f"{name} = ${n}" for n, name in enumerate(columns, start=2))
        statement = f"UPDATE read_model.jobs SET {assignments} WHERE job_id = $1"  # noqa: S608 - our own names
        await self.admin.execute(statement, job_id, *columns.values())

    async def notify(self, *job_ids: str) -> None:
        """Notify as the projector does."""
        await self.admin.execute(
            "SELECT pg_notify('report_jobs_read_model', $1)", " ".join(job_ids)
        )

    async def until_listening(self) -> None:
        """Return when the gateway hears notifications."""

        async def is_so() -> bool:
            return bool(await self.admin.fetchval(_LISTENERS))

        await poll_until(is_so, seconds=SECONDS)

    async def until_watched_by(self, count: int) -> None:
        """Return when so many clients wait for changes, and the gateway has read their jobs.

        They are counted before that: a change could still be the state that is read first.
        """

        async def is_so() -> bool:
            return await self.watches() == count

        await poll_until(is_so, seconds=SECONDS)
        if count:
            # Jobs are read in the order in which they are asked for, many at a time.
            await self.client.get(f"/report-jobs/{self.new_id()}")

    async def watches(self) -> int:
        """Return how many clients wait for changes, as the metrics say."""
        return await watches_of(self.client)

    @asynccontextmanager
    async def stream(
        self, job_id: str, last_event_id: str | None = None
    ) -> AsyncIterator[EventReader]:
        """Open a stream of events."""
        headers = {"last-event-id": last_event_id} if last_event_id is not None else {}
        async with (
            asyncio.timeout(SECONDS),
            self.client.stream("GET", f"/report-jobs/{job_id}/events", headers=headers) as response,
        ):
            assert response.status_code == httpx.codes.OK, await response.aread()
            yield EventReader(response)


async def watches_of(client: httpx.AsyncClient) -> int:
    """Return how many clients of a gateway wait for changes, as its metrics say."""
    text = (await client.get("/metrics")).text
    [value] = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "report_jobs_gateway_watches"
    ]
    return int(value)


@asynccontextmanager
async def open_live(
    bootstrap_servers: str, database: DatabaseUrls, topic_prefix: str, directory: Path
) -> AsyncIterator[Live]:
    """Serve a gateway for which the environment is set, until it is ready and listens."""
    kafka = bus_settings(bootstrap_servers, topic_prefix)
    await ensure_topics(kafka, RETENTION)
    app = build_app(Settings())
    admin = await asyncpg.connect(database.admin)
    try:
        async with (
            serving(app, shutdown_grace=float(LONG)) as served,
            httpx.AsyncClient(base_url=served.url, timeout=SECONDS) as client,
        ):
            bench = Bench(app, client, kafka, database, directory / "artifacts")
            live = Live(served, client, bench, admin)
            await bench.wait_ready()
            await live.until_listening()
            yield live
    finally:
        await admin.close()
