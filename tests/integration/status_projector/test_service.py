"""The service as processes: it folds, survives its own death, and its check tells the truth."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from local_stack.polling import poll_until
from local_stack.ports import free_ports
from shared.bus.topics import ensure_topics
from shared.database.pool import Database
from shared.events import AnyJobEvent, RequestedDateRange, RequestedReport, byte_headers, encode
from shared.settings import KafkaSettings
from status_projector.settings import Settings
from tests.support.job_histories import NOON, JobHistory, make_job_id
from tests.support.servers import Kafka

SECONDS = 300.0
REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
)


def whole_history(number: int) -> list[AnyJobEvent]:
    history = JobHistory(make_job_id(number), REQUEST)
    return [
        history.requested(),
        history.started(1),
        history.completed(1) if number % 5 else history.failed(1),
        history.delivered(1),
    ]


class Projector:
    """The service's commands, in processes of their own."""

    def __init__(self, environment: Mapping[str, str], kafka: KafkaSettings, port: int) -> None:
        self.kafka = kafka
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {**os.environ, **environment}

    async def start(self, command: str) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "status_projector", command),
            env=self._environment,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def run(self, command: str) -> tuple[int | None, str]:
        """Return the status and the standard output; what else is said is no traceback."""
        process = await self.start(command)
        async with asyncio.timeout(SECONDS):
            output, errors = await process.communicate()
        sys.stderr.write(errors.decode())
        assert b"Traceback" not in errors
        return process.returncode, output.decode()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Process]:
        process = await self.start("serve")
        try:
            await poll_until(self.is_ready, seconds=SECONDS)
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def is_ready(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{self.url}/readyz")).is_success
            except httpx.TransportError:
                return False

    async def write(self, events: list[AnyJobEvent]) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers) as producer:
            for event in events:
                sent = encode(event, source="test", time=NOON)
                topic, headers = self.kafka.topic(sent.topic), byte_headers(sent.headers)
                await producer.send(topic, sent.value, key=sent.key, headers=headers)
            await producer.flush()


@pytest.fixture
async def projector(kafka: Kafka, topic_prefix: str, settings: Settings) -> Projector:
    bus = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix)
    await ensure_topics(bus, timedelta(days=1))
    port = next(free_ports())
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "STATUS_PROJECTOR_DATABASE_URL": str(settings.database_url),
        "STATUS_PROJECTOR_PORT": str(port),
        "STATUS_PROJECTOR_MAX_BATCH": "20",
        "STATUS_PROJECTOR_VERIFY_WAIT": "240",
        "STATUS_PROJECTOR_DATABASE_CONNECT_TIMEOUT": "60",
        "KAFKA_REQUEST_TIMEOUT": "60",
        # The jobs of these tests are as old as their histories.
        "REPORT_RETENTION": "P3650D",
    }
    return Projector(environment, bus, port)


async def rows(database: Database) -> int:
    async with database.connection() as conn:
        count: int = await conn.fetchval("SELECT count(*) FROM jobs")
        return count


async def test_read_model_is_the_fold_of_the_log(
    projector: Projector, read_model: Database
) -> None:
    await projector.write([event for n in range(200) for event in whole_history(n)])

    async with projector.serving():
        status, output = await projector.run("verify")

    assert (status, output) == (0, "200 jobs, 800 events; the read model is the fold of the log\n")


async def test_killed_projector_goes_on_where_its_database_stands(
    projector: Projector, read_model: Database
) -> None:
    events = [event for n in range(1500) for event in whole_history(n)]
    await projector.write(events)
    for wanted in (100, 400, 800):
        async with projector.serving() as process:

            async def has_begun(wanted: int = wanted) -> bool:
                return await rows(read_model) >= wanted

            await poll_until(has_begun, seconds=SECONDS)
            process.send_signal(signal.SIGKILL)
            await process.wait()

    async with projector.serving():
        status, output = await projector.run("verify")

    assert (status, output.split(";")[0]) == (0, "1500 jobs, 6000 events")


async def test_terminated_projector_ends_by_itself_and_leaves_the_read_model_whole(
    projector: Projector, read_model: Database
) -> None:
    async with projector.serving() as process:
        await projector.write([event for n in range(300) for event in whole_history(n)])
        process.terminate()
        async with asyncio.timeout(SECONDS):
            _, errors = await process.communicate()

    assert process.returncode in {0, -signal.SIGTERM}
    assert b"Traceback" not in errors
    async with projector.serving():
        assert (await projector.run("verify"))[0] == 0


async def test_verify_names_what_differs(projector: Projector, read_model: Database) -> None:
    await projector.write([event for n in range(30) for event in whole_history(n)])
    async with projector.serving():
        assert (await projector.run("verify"))[0] == 0
    async with read_model.connection() as conn:
        await conn.execute("UPDATE jobs SET status = 'RUNNING' WHERE job_id = $1", make_job_id(1))
        await conn.execute("DELETE FROM jobs WHERE job_id = $1", make_job_id(2))
        await conn.execute("UPDATE jobs SET request = '{}' WHERE job_id = $1", make_job_id(3))

    status, output = await projector.run("verify")

    assert status == 1
    assert output == (
        f"30 jobs, 120 events; 3 differ: {make_job_id(1)}, {make_job_id(2)}, {make_job_id(3)}\n"
    )


async def row_versions(database: Database) -> dict[str, tuple[int, str]]:
    """Which transaction wrote each row, and its vector."""
    async with database.connection() as conn:
        rows = await conn.fetch(
            "SELECT job_id, xmin::text::bigint AS xmin,"
            " requests_offset || '-' || events_offset AS vector FROM jobs"
        )
        return {row["job_id"]: (row["xmin"], row["vector"]) for row in rows}


async def test_rebuild_mends_what_no_event_could_and_writes_nothing_else(
    projector: Projector, read_model: Database
) -> None:
    await projector.write([event for n in range(30) for event in whole_history(n)])
    corrupted, lost, invented = (make_job_id(number) for number in (1, 2, 999))
    async with projector.serving():
        assert (await projector.run("verify"))[0] == 0
        before = await row_versions(read_model)
        async with read_model.connection() as conn:
            await conn.execute(
                "UPDATE jobs SET status = 'RUNNING', execution_version = '{99,1,1,4,0}',"
                " events_offset = 99 WHERE job_id = $1",
                corrupted,
            )
            await conn.execute("UPDATE jobs SET job_id = $2 WHERE job_id = $1", lost, invented)
        await projector.write(whole_history(1))  # nothing that they say is newer than the row
        assert (await projector.run("verify"))[0] == 1

        status, output = await projector.run("rebuild")

        assert (status, output) == (0, "30 jobs, 124 events; 2 rows removed, 2 put in\n")
        await projector.write(whole_history(31))
        assert (await projector.run("verify"))[0] == 0
    after = await row_versions(read_model)
    assert after.keys() == before.keys() | {make_job_id(31)}
    untouched = before.keys() - {corrupted, lost}
    assert {job_id: after[job_id] for job_id in untouched} == {
        job_id: before[job_id] for job_id in untouched
    }
    assert after[lost][1] == before[lost][1]


async def test_rebuilt_read_model_has_the_vectors_that_it_had(
    projector: Projector, read_model: Database
) -> None:
    await projector.write([event for n in range(50) for event in whole_history(n)])
    async with projector.serving():
        assert (await projector.run("verify"))[0] == 0
        before = await row_versions(read_model)
        async with read_model.connection() as conn:
            await conn.execute("DELETE FROM jobs")

        assert (await projector.run("rebuild"))[0] == 0

        after = await row_versions(read_model)
    assert {job_id: vector for job_id, (_, vector) in after.items()} == {
        job_id: vector for job_id, (_, vector) in before.items()
    }


async def test_verify_says_how_far_behind_the_projector_is(
    kafka: Kafka, projector: Projector, read_model: Database
) -> None:
    await projector.write(whole_history(1))
    projector._environment["STATUS_PROJECTOR_VERIFY_WAIT"] = "0.1"

    status, output = await projector.run("verify")

    assert (status, output) == (4, "0 jobs, 0 events; the projector is 4 records behind\n")


async def test_verify_without_a_broker_ends_with_one_line(
    projector: Projector, read_model: Database
) -> None:
    projector._environment["KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"

    process = await projector.start("verify")
    async with asyncio.timeout(SECONDS):
        _, errors = await process.communicate()

    assert process.returncode == 3
    assert errors.decode().splitlines()[-1].startswith("status-projector: verify: ")
    assert b"Traceback" not in errors


async def test_readiness_names_a_schema_that_is_not_there(
    projector: Projector, settings: Settings
) -> None:
    process = await projector.start("serve")
    try:

        async def says_so() -> bool:
            async with httpx.AsyncClient() as client:
                try:
                    answer = await client.get(f"{projector.url}/readyz")
                except httpx.TransportError:
                    return False
                return "database" in answer.json()["missing"] and answer.status_code == 503

        await poll_until(says_so, seconds=SECONDS)

        assert (await projector.run("migrate"))[0] == 0
        await poll_until(projector.is_ready, seconds=SECONDS)
    finally:
        process.kill()
        await process.communicate()


async def test_listeners_are_told_of_changed_jobs(
    projector: Projector, read_model: Database
) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    async with projector.serving(), read_model.connection() as conn:
        await conn.add_listener(
            "report_jobs_read_model", lambda *notice: told.put_nowait(str(notice[3]))
        )
        await projector.write(whole_history(7))
        async with asyncio.timeout(SECONDS):
            assert await told.get() == make_job_id(7)
        await conn.reset()


async def test_log_lines_are_json(projector: Projector, read_model: Database) -> None:
    projector._environment["LOG_LEVEL"] = "DEBUG"
    process = await projector.start("serve")
    await poll_until(projector.is_ready, seconds=SECONDS)
    await projector.write(whole_history(7))

    async def is_folded() -> bool:
        return await rows(read_model) == 1

    await poll_until(is_folded, seconds=SECONDS)
    process.terminate()
    _, errors = await process.communicate()

    lines = [json.loads(line) for line in errors.decode().splitlines()]
    assert "batch folded" in {line["message"] for line in lines}
    assert {line["service"] for line in lines} == {"status-projector"}
