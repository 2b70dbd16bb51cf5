"""Clients that follow a job while the read model is lost and rebuilt: no repeat, no hole."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import httpx

from local_stack.identity import send_signal
from tests.support.client import Job
from tests.support.event_stream import Event, EventReader
from tests.system.catalogue import SLOW_REPORT, request
from tests.system.installation import Installation
from tests.system.read_model import rebuild, wait_until_verified
from tests.system.steps import SECONDS, complete


@asynccontextmanager
async def stream(
    installation: Installation, job: Job, last_event_id: str | None = None
) -> AsyncIterator[EventReader]:
    headers = {"last-event-id": last_event_id} if last_event_id is not None else {}
    path = f"/report-jobs/{job.job_id}/events"
    http = installation.client.http
    async with http.stream("GET", path, headers=headers, timeout=SECONDS) as response:
        assert response.status_code == httpx.codes.OK
        yield EventReader(response)


async def follow_until_running(installation: Installation, job: Job) -> list[Event]:
    """Follow a job that never ends by itself until it runs, and break off there."""
    events: list[Event] = []
    async with stream(installation, job) as reader:
        while not events or events[-1].status != "RUNNING":
            events.append(await reader.next())
    return events


@contextmanager
def held_still(installation: Installation, service: str) -> Iterator[None]:
    """Let a service do nothing while the body runs."""
    process = installation.stack.processes[service]
    send_signal(process, signal.SIGSTOP)
    try:
        yield
    finally:
        send_signal(process, signal.SIGCONT)


async def lose_all_rows(installation: Installation) -> None:
    connection = await asyncpg.connect(installation.stack.database.admin)
    try:
        await connection.execute("DELETE FROM read_model.jobs")
    finally:
        await connection.close()


async def ask_if_changed(installation: Installation, known: httpx.Response) -> httpx.Response:
    headers = {"if-none-match": known.headers["etag"]}
    return await installation.client.http.get(known.request.url, headers=headers)


def in_short(answer: httpx.Response) -> dict[str, Any]:
    """A job as events show it."""
    job: dict[str, Any] = answer.json()
    del job["runs"]
    return job


def vector_of(answer: httpx.Response) -> str:
    """How far an answer goes: what the id of an event says, in the words of an entity tag."""
    return str(answer.headers["etag"]).strip('"').rpartition("-")[0]


async def test_a_rebuild_repeats_nothing_to_those_who_follow_and_leaves_no_hole(
    installation: Installation,
) -> None:
    client = installation.client
    ended = await complete(installation, "ORDERS_SUMMARY")
    running = await client.submit(request(SLOW_REPORT))
    seen = await follow_until_running(installation, running)
    with held_still(installation, "report-worker"):
        await wait_until_verified(installation.stack)
        known = [await client.look_up(job.job_id) for job in (ended, running)]
        last = vector_of(known[1])
        async with stream(installation, running, last) as open_all_the_while:
            await lose_all_rows(installation)
            async with stream(installation, running, last) as resumed:
                await rebuild(installation.stack)
                again = [await ask_if_changed(installation, answer) for answer in known]
                await client.http.post(f"/report-jobs/{running.job_id}/cancel")
                send_signal(installation.stack.processes["report-worker"], signal.SIGCONT)
                new = [event async for event in resumed]
            new_to_the_other = [event async for event in open_all_the_while]

    assert [answer.status_code for answer in again] == [httpx.codes.NOT_MODIFIED] * 2
    ids = [event.id for event in (*seen, *new)]
    assert len(set(ids)) == len(ids)
    assert last not in {event.id for event in (*new, *new_to_the_other)}
    assert new[-1].data == new_to_the_other[-1].data
    assert new[-1].data == in_short(await client.look_up(running.job_id))
    assert (new[-1].status, new[-1].data["errorCode"]) == ("FAILED", "CANCELLED")
    for job, last_id in ((running, new[-1].id), (ended, vector_of(known[0]))):
        path = f"/report-jobs/{job.job_id}/events"
        response = await client.http.get(path, headers={"last-event-id": str(last_id)})
        assert response.status_code == httpx.codes.NO_CONTENT
    await wait_until_verified(installation.stack)
