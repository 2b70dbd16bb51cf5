"""A minute without Kafka, or without PostgreSQL: what runs goes on, and nothing is run again.

A minute is longer than a lease of the shipped defaults, with which the workers run here. Two
installations have their outage at the same time, because it can't be had in less than a minute.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from local_stack.paths import StackDirectory
from local_stack.polling import poll_until
from shared.topics import Topic
from tests.support.client import Job
from tests.support.log_audit import breaches, tell
from tests.support.plugins import install_plugin
from tests.support.servers import LocalKafka, LocalPostgres, run_kafka, run_postgres
from tests.system.catalogue import request
from tests.system.installation import Installation, Servers, run_installation
from tests.system.load import assert_told_of_each
from tests.system.log import read_events
from tests.system.queue import wait_until_worker_is_done
from tests.system.read_model import wait_until_verified
from tests.system.steps import SECONDS

OUTAGE: Final = 60.0
PATIENT: Final = "PATIENT"
"""Reads no source; ends when a file is there."""

PATIENT_TYPE: Final[dict[str, Any]] = {
    "name": PATIENT,
    "title": "Patient",
    "plugin": "patient",
    "columns": [{"name": "number", "title": "Number", "type": "integer"}],
    "parameters": {
        "type": "object",
        "properties": {"file": {"type": "string"}},
        "required": ["file"],
    },
}
PLUGIN: Final = """
import asyncio
from pathlib import Path

from pydantic import BaseModel

from report_worker.plugins import ReportPlugin


class Parameters(BaseModel):
    file: str


async def rows(report):
    while not Path(report.parameters.file).exists():
        await asyncio.sleep(0.1)
    yield [(1,)]


plugin = ReportPlugin(rows, columns=("number",), parameters=Parameters)
"""


Submit = Callable[[Installation, str], Coroutine[Any, Any, Job]]
"""What a client does while the server is away, until it has its 202; takes a callback URL."""


async def outage(
    installation: Installation, server: LocalKafka | LocalPostgres, folder: Path, submit: Submit
) -> None:
    """Let a server be away for a minute while reports run, and hold all against the promise.

    Some reports end in the middle of it, and some when it is over.
    """
    during, after = folder / "during", folder / "after"
    endpoint = installation.receiver.endpoint()
    jobs = [
        await installation.client.submit(
            request(PATIENT, callbackUrl=endpoint.url, parameters={"file": str(file)})
        )
        for file in (during, during, after, after)
    ]
    for job in jobs:
        await installation.client.wait_until_status(job.job_id, {"RUNNING"})

    await server.kill()
    async with asyncio.TaskGroup() as meanwhile:
        submitted = meanwhile.create_task(submit(installation, endpoint.url))
        await asyncio.sleep(OUTAGE / 2)
        during.touch()
        await asyncio.sleep(OUTAGE / 2)
        await server.start()
        after.touch()

    job_ids = [job.job_id for job in (*jobs, submitted.result())]
    await assert_each_ran_once(installation, job_ids)
    await assert_told_of_each(endpoint, job_ids)


async def assert_each_ran_once(installation: Installation, job_ids: Sequence[str]) -> None:
    """Nobody helps, and each job is completed by its first attempt."""
    stack = installation.stack
    asked = tell(await read_events(stack, Topic.REQUESTS)).requested.keys()
    assert asked >= {(job_id, 1) for job_id in job_ids}
    await wait_until_worker_is_done(stack, asked)
    await wait_until_verified(stack)
    log = tell(await read_events(stack, Topic.REQUESTS) + await read_events(stack, Topic.EVENTS))
    assert breaches(log) == []
    for job_id in job_ids:
        assert list(log.runs[job_id, 1].started) == [1]
        assert (await installation.client.get(job_id)).status == "COMPLETED"


async def submit_until_accepted(installation: Installation, callback: str) -> Job:
    """Without Kafka every answer is 503, until it is back."""
    accepted: list[Job] = []

    async def is_accepted() -> bool:
        job = await installation.client.try_to_submit(asked)
        accepted.extend([job] if job else [])
        return job is not None

    asked = request("ORDERS_SUMMARY", callbackUrl=callback)
    await poll_until(is_accepted, seconds=OUTAGE + SECONDS, interval=0.5)
    return accepted[0]


async def submit_at_once(installation: Installation, callback: str) -> Job:
    """A request without a key needs no database."""
    return await installation.client.submit(request("ORDERS_SUMMARY", callbackUrl=callback))


async def test_a_minute_without_kafka_or_postgres_costs_no_job_anything(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plugins, *folders = (tmp_path_factory.mktemp(name) for name in ("plugins", "one", "other"))
    install_plugin(plugins, PLUGIN, name="patient")
    settings = {"PYTHONPATH": str(plugins)}

    async def without_kafka() -> None:
        async with run_installation(
            servers, worker=settings, report_types=[PATIENT_TYPE]
        ) as installation:
            await outage(installation, servers.kafka, folders[0], submit_until_accepted)

    async def without_postgres() -> None:
        directory = StackDirectory(servers.directory.root / "outage")
        async with (
            run_kafka(directory) as kafka,
            run_postgres(directory) as postgres,
            run_installation(
                Servers(directory, kafka, postgres), worker=settings, report_types=[PATIENT_TYPE]
            ) as installation,
        ):
            await outage(installation, postgres, folders[1], submit_at_once)

    async with asyncio.TaskGroup() as outages:
        outages.create_task(without_kafka())
        outages.create_task(without_postgres())
