"""A queue on a real database, without Kafka: what it would publish is kept."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry

from report_worker import domain
from report_worker.app import SCHEMA
from report_worker.domain import Attempt, Outcome, Request
from report_worker.metrics import WorkerMetrics
from report_worker.service import Intake, Queue, QueueTimes
from shared.clock import utc_now
from shared.database.pool import Database, open_database
from shared.events import OutgoingMessage
from shared.outbox import Outbox
from shared.settings import DatabaseSettings
from shared.telemetry.metrics import OutboxMetrics
from tests.support.report_runs import POLICY
from tests.support.servers import DatabaseUrls

LEASE = 60.0


class NoBroker:
    """Acknowledges nothing, so that the outbox rows stay to be looked at."""

    async def publish(
        self,
        messages: Sequence[OutgoingMessage],  # noqa: ARG002 - the interface gives them
    ) -> list[OutgoingMessage]:
        return []


@dataclass(frozen=True, slots=True)
class QueueBench:
    """Queues on one database; each stands for a worker process."""

    database: Database

    def queue(
        self, *, worker: str = "one", grace: float = 0, tenant_limit: int | None = None
    ) -> Queue:
        """Make a worker's queue; it reaps at once unless it has a grace."""
        registry = CollectorRegistry()
        return Queue(
            self.database,
            Outbox(self.database, NoBroker(), OutboxMetrics(registry)),
            policy=POLICY,
            times=QueueTimes(lease=LEASE, grace=grace),
            worker=worker,
            clock=utc_now,
            metrics=WorkerMetrics(registry),
            tenant_limit=tenant_limit,
        )

    async def take_in(
        self, *requests: Request, free_slots: int = 0, tenant_limit: int | None = None
    ) -> list[Attempt]:
        """Take requests in as one batch."""
        intake = Intake(progress={}, requests=list(requests))
        queue = self.queue(tenant_limit=tenant_limit)
        return await queue.take_in(intake, free_slots=free_slots)

    async def finish(self, attempt: Attempt, outcome: Outcome) -> None:
        """End an attempt after one second."""
        ending = domain.ending(attempt, outcome, timedelta(seconds=1), POLICY)
        await self.queue().finish([ending], free_slots=0)

    async def expire_leases(self) -> None:
        """Let the time of all leases pass."""
        await self._execute("UPDATE runs SET lease_until = now() - interval '1 second'")

    async def make_due(self) -> None:
        """Let all waits for a retry pass."""
        await self._execute("UPDATE runs SET run_at = now() - interval '1 second'")

    async def states(self) -> dict[str, int]:
        """Count the runs by state."""
        async with self.database.connection() as conn:
            rows = await conn.fetch("SELECT state, count(*) AS runs FROM runs GROUP BY state")
        return {row["state"]: row["runs"] for row in rows}

    async def stored_events(self) -> list[str]:
        """Return the types of the events in the outbox, sorted."""
        async with self.database.connection() as conn:
            rows = await conn.fetch("SELECT headers::json ->> 'ce_type' AS type FROM outbox")
        return sorted(row["type"].split(".")[1] for row in rows)

    async def _execute(self, statement: str) -> None:
        async with self.database.connection() as conn:
            await conn.execute(statement)


@asynccontextmanager
async def queue_bench(urls: DatabaseUrls) -> AsyncIterator[QueueBench]:
    """Open the worker's migrated schema."""
    settings = DatabaseSettings.model_validate({"database_url": urls.report_worker})
    async with open_database(settings, schema=SCHEMA, service="test") as database:
        yield QueueBench(database)
