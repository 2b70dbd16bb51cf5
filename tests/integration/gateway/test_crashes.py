"""`Idempotency-Key` through crashes: wherever the gateway dies, a replay makes it one job.

The gateway is a process of its own, killed with SIGKILL. The servers are held still, or a row is
locked, so that it dies at the very point that a test is about.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest
from aiokafka import ConsumerRecord

from local_stack.child import ChildProcess
from local_stack.paths import StackDirectory
from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK, free_ports
from local_stack.services import SERVICES, answers_ready, process_spec
from shared.bus.stored_log import open_log
from shared.bus.topics import ensure_topics
from shared.settings import KafkaSettings
from shared.topics import Topic
from tests.integration.gateway.bench import RETENTION, bus_settings, environment, prepare
from tests.support.gateway import REQUEST
from tests.support.servers import DatabaseUrls, LocalKafka, LocalPostgres

KEY: Final = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'
_SECONDS: Final = 400.0
_CLIENT_SECONDS: Final = 300
"""Longer than the gateway itself waits for anything."""
_ROWS: Final = (
    "SELECT job_id, value, acked_at IS NOT NULL AS is_acked FROM gateway.idempotency_keys"
)
IMPATIENT: Final = {"KAFKA_PUBLISH_TIMEOUT": "2"}
HOLD_UPDATES: Final = """
CREATE FUNCTION gateway.hold() RETURNS trigger LANGUAGE plpgsql AS
    $body$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $body$;
CREATE TRIGGER hold BEFORE UPDATE ON gateway.idempotency_keys EXECUTE FUNCTION gateway.hold();
"""
END_SESSIONS: Final = """
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
WHERE datname = current_database() AND usename = 'gateway'
"""


@dataclass(slots=True)
class Served:
    """A gateway that is killed and started again, and what lies behind it."""

    kafka: KafkaSettings
    database: DatabaseUrls
    variables: dict[str, str]
    directory: StackDirectory
    port: int = field(default_factory=lambda: next(free_ports()))
    process: ChildProcess | None = None

    async def start(self) -> None:
        [service] = (service for service in SERVICES if service.name == "gateway")
        variables = {**self.variables, "GATEWAY_PORT": str(self.port)}
        self.process = await ChildProcess.start(process_spec(service, self.directory, variables))

        async def is_ready() -> bool:
            return answers_ready(self.port)

        await poll_until(is_ready, seconds=_SECONDS)

    async def kill(self) -> None:
        assert self.process is not None
        await self.process.kill()

    async def submit(self, request: dict[str, Any] = REQUEST) -> httpx.Response:
        url = f"http://{LOOPBACK}:{self.port}"
        async with httpx.AsyncClient(base_url=url, timeout=_CLIENT_SECONDS) as http:
            return await http.post(
                "/generate-report", json=request, headers={"idempotency-key": KEY}
            )

    async def submit_and_die(self) -> httpx.Response | None:
        """Submit; None where the gateway died before it answered."""
        try:
            return await self.submit()
        except httpx.TransportError:
            return None

    async def replay(self) -> httpx.Response:
        """Submit again until the answer is 202, as a client would."""
        answer = await self.submit()

        async def is_accepted() -> bool:
            nonlocal answer
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                answer = await self.submit()
            return answer.status_code == httpx.codes.ACCEPTED

        await poll_until(is_accepted, seconds=_SECONDS)
        return answer

    async def records(self) -> list[ConsumerRecord]:
        """Read the whole requests topic."""
        async with open_log(self.kafka, [Topic.REQUESTS]) as stored:
            return [
                record
                for partition, offsets in (await stored.bounds()).items()
                async for records in stored.read(partition, offsets)
                for record in records
            ]

    @asynccontextmanager
    async def admin(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await asyncpg.connect(self.database.admin)
        try:
            yield connection
        finally:
            await connection.close()

    async def wait_for_row(self) -> asyncpg.Record:
        """Return the key's row once it is committed."""
        rows: list[asyncpg.Record] = []
        async with self.admin() as admin:

            async def is_there() -> bool:
                rows[:] = await admin.fetch(_ROWS)
                return bool(rows)

            await poll_until(is_there, seconds=_SECONDS)
        return rows[0]


@pytest.fixture
async def served(
    request: pytest.FixtureRequest,
    local_kafka: LocalKafka,
    local_postgres: LocalPostgres,
    topic_prefix: str,
    tmp_path: Path,
) -> AsyncIterator[Served]:
    """A gateway that waits until it is killed; a test may change its settings."""
    servers = local_kafka.bootstrap_servers
    kafka = bus_settings(servers, topic_prefix)
    await ensure_topics(kafka, RETENTION)
    async with local_postgres.create_database() as database:
        await prepare(database)
        variables = {
            "PATH": os.environ["PATH"],
            **environment(servers, database, topic_prefix, tmp_path),
            **getattr(request, "param", {}),
        }
        served = Served(kafka, database, variables, StackDirectory(tmp_path))
        await served.start()
        yield served
        if served.process is not None:
            await served.process.stop()


def assert_is_one_job(records: list[ConsumerRecord], answer: httpx.Response) -> None:
    """All that is on the topic is one event, byte for byte, and the answer tells of it."""
    assert records
    job_id = answer.json()["jobId"]
    assert {record.key for record in records} == {job_id.encode()}
    assert len({(record.value, tuple(sorted(record.headers))) for record in records}) == 1


async def test_killed_while_the_row_is_stored(served: Served) -> None:
    async with served.admin() as admin:
        async with admin.transaction():
            await admin.execute("LOCK TABLE gateway.idempotency_keys IN EXCLUSIVE MODE")
            submitting = asyncio.create_task(served.submit_and_die())
            await wait_for_lock(served)
            await served.kill()
        assert await submitting is None
    await served.start()
    answer = await served.replay()
    assert_is_one_job(await served.records(), answer)


async def test_killed_between_storing_and_publishing(
    served: Served, local_kafka: LocalKafka
) -> None:
    with local_kafka.frozen():
        submitting = asyncio.create_task(served.submit_and_die())
        row = await served.wait_for_row()
        await served.kill()
        assert await submitting is None
    assert not row["is_acked"]
    await served.start()
    answer = await served.replay()
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.json()["jobId"] == row["job_id"]
    assert_is_one_job(await served.records(), answer)


async def test_killed_between_publishing_and_noting_the_acknowledgement(served: Served) -> None:
    async with served.admin() as admin:
        await admin.execute(HOLD_UPDATES)
        await admin.execute("SELECT pg_advisory_lock(1)")
        first = await served.submit()
        await wait_for_lock(served)
        await served.kill()
        # The server would carry on with the statement of a client that is gone.
        await admin.execute(END_SESSIONS)
        await admin.execute("SELECT pg_advisory_unlock(1)")
        [row] = await admin.fetch(_ROWS)
    assert (first.status_code, row["is_acked"]) == (202, False)
    await served.start()
    answer = await served.replay()
    assert answer.content == first.content
    assert answer.headers["idempotent-replayed"] == "true"
    records = await served.records()
    assert len(records) == 2
    assert_is_one_job(records, answer)


@pytest.mark.parametrize("served", [IMPATIENT], indirect=True, ids=["impatient"])
async def test_a_timeout_of_the_broker_is_503_and_the_replay_is_the_same_job(
    served: Served, local_kafka: LocalKafka
) -> None:
    with local_kafka.frozen():
        refused = await served.submit()
    assert refused.status_code == 503
    row = await served.wait_for_row()
    answer = await served.replay()
    assert answer.json()["jobId"] == row["job_id"]
    assert_is_one_job(await served.records(), answer)


@pytest.mark.parametrize("served", [IMPATIENT], indirect=True, ids=["impatient"])
async def test_a_broker_that_refuses_is_503_and_the_replay_is_the_same_job(
    served: Served, local_kafka: LocalKafka
) -> None:
    await local_kafka.kill()
    try:
        assert (await served.submit()).status_code == 503
        row = await served.wait_for_row()
        # Another payload is refused although the first one isn't on the log.
        other = await served.submit({**REQUEST, "format": "PDF"})
        assert other.status_code == 422
    finally:
        await local_kafka.start()
    answer = await served.replay()
    assert answer.json()["jobId"] == row["job_id"]
    assert_is_one_job(await served.records(), answer)


async def test_without_the_database_there_is_no_job_with_a_key(
    served: Served, local_postgres: LocalPostgres
) -> None:
    await local_postgres.kill()
    try:
        refused = await served.submit()
        assert refused.status_code == 503
        assert "Idempotency keys" in refused.json()["detail"]
        assert await served.records() == []
    finally:
        await local_postgres.start()
    answer = await served.replay()
    assert_is_one_job(await served.records(), answer)


async def wait_for_lock(served: Served) -> None:
    """Return when a statement of the gateway waits for a lock."""
    async with served.admin() as admin:

        async def waits() -> bool:
            count = await admin.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND usename = 'gateway' AND wait_event_type = 'Lock'"
            )
            return bool(count)

        await poll_until(waits, seconds=_SECONDS)
