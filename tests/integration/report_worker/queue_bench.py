"""A queue on a real database, without Kafka: what it would publish is kept."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from local_stack.polling import poll_until
from report_worker import domain
from report_worker.app import SCHEMA
from report_worker.domain import Attempt, Cancelled, Outcome, Released, Request
from report_worker.metrics import WorkerMetrics
from report_worker.service import Intake, Queue, QueueTimes
from report_worker.store import PLANNING
from report_worker.store.leases import CLAIM
from shared.clock import utc_now
from shared.database.pool import Database, open_database
from shared.events import AnyJobEvent, JobFailed, JobProgressed, OutgoingMessage, decode
from shared.outbox import Outbox
from shared.telemetry.metrics import OutboxMetrics
from tests.support.report_runs import POLICY
from tests.support.report_worker import PATIENCE
from tests.support.servers import DatabaseUrls, patient_settings

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

    async def finish(self, attempt: Attempt, outcome: Outcome | Cancelled | Released) -> None:
        """End an attempt after one second."""
        ending = domain.ending(attempt, outcome, timedelta(seconds=1), POLICY)
        await self.queue().finish([ending], free_slots=0)

    async def expire_leases(self) -> None:
        """Let the time of all leases pass."""
        await self.execute("UPDATE runs SET lease_until = now() - interval '1 second'")

    async def make_due(self) -> None:
        """Let all waits for a retry pass."""
        await self.execute("UPDATE runs SET run_at = now() - interval '1 second'")

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

    async def failures(self) -> list[JobFailed]:
        """Return the ends without a report in the outbox, by job and run."""
        failures = [event for event in await self._events() if isinstance(event, JobFailed)]
        return sorted(failures, key=lambda event: (event.job_id, event.run))

    async def progress(self) -> list[JobProgressed]:
        """Return the progress in the outbox."""
        return [event for event in await self._events() if isinstance(event, JobProgressed)]

    async def rows_read_by_a_claim(self) -> int:
        """Claim, undo it, and count the rows that it read from the table and its indexes."""
        return sum(node["Actual Rows"] * node["Actual Loops"] for node in await self._claim_scans())

    async def sequential_scans_by_a_claim(self) -> list[str]:
        """Claim, undo it, and return the scans that read a table as a whole."""
        scans = await self._claim_scans()
        return [node["Node Type"] for node in scans if node["Node Type"] == "Seq Scan"]

    async def rows_read_as_a_whole(self) -> int:
        """Return how many rows were read by scans of the table of runs so far."""
        async with self.database.connection() as conn:
            await conn.execute("SELECT pg_stat_force_next_flush()")
            read: int = await conn.fetchval(
                "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = 'runs'::regclass"
            )
        return read

    async def _claim_scans(self) -> list[dict[str, Any]]:
        await self.execute("ANALYZE runs")
        async with self.database.connection() as conn:
            claiming = conn.transaction()
            await claiming.start()
            explained = await conn.fetchval(
                "EXPLAIN (ANALYZE, FORMAT JSON) " + CLAIM, 4, LEASE, 2**31 - 1, []
            )
            await claiming.rollback()
        nodes = _nodes(json.loads(explained)[0]["Plan"])
        return [node for node in nodes if "Relation Name" in node]

    async def _events(self) -> list[AnyJobEvent]:
        async with self.database.connection() as conn:
            rows = await conn.fetch("SELECT headers, value FROM outbox ORDER BY created_at")
        received = (decode(json.loads(row["headers"]), row["value"]) for row in rows)
        return [one.event for one in received if one]

    async def tombstones(self) -> list[tuple[str, int]]:
        """Return the ended runs of deleted jobs, which hold no request any more."""
        async with self.database.connection() as conn:
            rows = await conn.fetch(
                "SELECT job_id, run FROM runs WHERE deleted_at IS NOT NULL AND request IS NULL"
                " AND state = 'ended' ORDER BY job_id, run"
            )
        return [(row["job_id"], row["run"]) for row in rows]

    async def is_waiting_for_a_lock(self) -> None:
        """Return when some transaction in this database waits for another."""

        async def waits() -> bool:
            async with self.database.connection() as conn:
                return bool(
                    await conn.fetchval(
                        "SELECT count(*) FROM pg_stat_activity"
                        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
                    )
                )

        await poll_until(waits, seconds=PATIENCE)

    async def until_alone(self) -> None:
        """Return when the sessions of earlier tests have ended, and counted what they did."""

        async def nobody_else_is_there() -> bool:
            async with self.database.connection() as conn:
                others: int = await conn.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            return others == 0

        await poll_until(nobody_else_is_there, seconds=PATIENCE)

    async def execute(self, statement: str) -> None:
        """Change the database behind the queue's back."""
        async with self.database.connection() as conn:
            await conn.execute(statement)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


@asynccontextmanager
async def queue_bench(urls: DatabaseUrls) -> AsyncIterator[QueueBench]:
    """Open the worker's migrated schema."""
    settings = patient_settings(urls.report_worker)
    async with open_database(settings, schema=SCHEMA, service="test", session=PLANNING) as database:
        yield QueueBench(database)
