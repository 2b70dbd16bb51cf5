"""`GET /report-jobs/{jobId}/events` on a served gateway."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from local_stack.polling import poll_until
from shared.clock import utc_now
from tests.integration.gateway.live import LONG, SECONDS, Live
from tests.integration.gateway.test_api_keys import keys
from tests.integration.gateway.test_waiting import ENDED, PROGRESS, RUNNING, delete
from tests.support.event_stream import EventReader
from tests.support.serving import connect_and_read_nothing

COMPLETED: dict[str, Any] = {"status": "COMPLETED", "row_count": 0, "events_offset": 9}
BY_KEY = {"AUTH": "api-key", "API_KEYS_REFRESH": LONG}
"""Keys are read again only when a change is told, so that none counts as too long unread."""


async def rest(reader: EventReader) -> list[tuple[str | None, str]]:
    """Return id and name of all events up to the end of a stream."""
    return [(event.id, event.name) async for event in reader._events]


async def test_a_job_is_followed_from_before_its_first_event_to_its_end(live: Live) -> None:
    job_id = live.new_id()
    async with live.stream(job_id) as events:
        headers = events.response.headers
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        first = await events.next()
        assert (first.id, first.name, first.status) == ("0-0", "job", "PENDING")
        assert events.retry is not None
        await live.bench.add_job(job_id, requests_offset=4)
        await live.notify(job_id)
        accepted = await events.next()
        assert (accepted.id, accepted.data["reportType"]) == ("4-0", "ORDERS_SUMMARY")
        await live.change(job_id, **RUNNING)
        assert (await events.next()).status == "RUNNING"
        await live.change(job_id, **PROGRESS)
        assert (await events.next()).data["progress"]["percent"] == 40
        await live.change(job_id, **ENDED)
        ended = await events.next()
        assert (ended.id, ended.status, ended.data["errorCode"]) == ("4-3", "FAILED", "TIMED_OUT")
        assert await rest(events) == []
    await live.until_watched_by(0)


async def test_the_events_show_a_job_as_the_listing_does(live: Live) -> None:
    job_id = await live.add(**COMPLETED, artifact_path="a", file_name="a.csv",
        media_type="text/csv", byte_count=1, sha256="00" * 32)  # fmt: skip
    async with live.stream(job_id) as events:
        event = await events.next()
    [listed] = (await live.client.get("/report-jobs")).json()["reportJobs"]
    assert event.data == listed
    assert event.data["downloadUrl"]


@pytest.mark.parametrize("seen", ["0-0", "4-1", "", "nonsense", "4-1-2", "4"])
async def test_what_the_client_hasnt_is_sent_at_once(live: Live, seen: str) -> None:
    job_id = await live.add(requests_offset=4, **PROGRESS)
    async with live.stream(job_id, seen) as events:
        assert (await events.next()).id == "4-2"


async def test_a_resume_has_no_repeat_and_no_hole(live: Live) -> None:
    job_id = await live.add(requests_offset=4, **RUNNING)
    async with live.stream(job_id) as events:
        last = (await events.next()).id
    await live.change(job_id, **PROGRESS)
    async with live.stream(job_id, last) as events:
        event = await events.next()
        assert (event.id, event.data["progress"]["percent"]) == ("4-2", 40)
    async with live.stream(job_id, event.id) as events:
        await live.change(job_id, **ENDED)
        assert await rest(events) == [("4-3", "job")]


async def test_while_the_read_model_is_rebuilt_nothing_old_is_shown(live: Live) -> None:
    job_id = await live.add(requests_offset=4, **PROGRESS)
    async with live.stream(job_id) as events:
        assert (await events.next()).id == "4-2"
        await live.admin.execute("DELETE FROM read_model.jobs WHERE job_id = $1", job_id)
        await live.bench.add_job(job_id, requests_offset=4)
        await live.notify(job_id)
        async with live.stream(job_id, "4-2") as resumed:
            await live.until_watched_by(2)
            await live.change(job_id, **RUNNING)
            await live.change(job_id, **PROGRESS)
            await live.change(job_id, **ENDED)
            assert await rest(resumed) == [("4-3", "job")]
        assert await rest(events) == [("4-3", "job")]


async def test_a_client_that_saw_the_end_is_told_to_stop(live: Live) -> None:
    job_id = await live.add(requests_offset=4, **ENDED)
    path = f"/report-jobs/{job_id}/events"
    response = await live.client.get(path, headers={"last-event-id": "4-3"})
    assert (response.status_code, response.content) == (204, b"")
    await live.change(
        job_id, webhook_status="DELIVERED", webhook_attempts=1, webhook_updated_at=utc_now(),
        events_offset=4,
    )  # fmt: skip
    async with live.stream(job_id, "4-3") as events:
        assert (await events.next()).data["webhook"]["status"] == "DELIVERED"
        assert await rest(events) == []


async def test_silence_is_filled_with_comments(live: Live) -> None:
    job_id = await live.add()
    async with live.stream(job_id) as events:
        await events.next()
        waiting = asyncio.create_task(events.next())

        async def has_comments() -> bool:
            return len(events.comments) > 1

        await poll_until(has_comments, seconds=SECONDS)
        await live.change(job_id, **ENDED)
        assert (await waiting).status == "FAILED"


async def test_a_job_deleted_while_it_is_followed_ends_the_stream(live: Live) -> None:
    job_id = await live.add()
    async with live.stream(job_id) as events:
        await events.next()
        await delete(live, job_id)
        gone = await events.next()
        assert (gone.name, gone.data["status"]) == ("gone", 410)
        assert gone.data["type"] == "urn:report-jobs:problem:job-deleted"
        assert await rest(events) == []
    assert (await live.client.get(f"/report-jobs/{job_id}/events")).status_code == 410


@pytest.mark.parametrize("job_id", ["job_12345", "..", "%00", "job_" + "v" * 40])
async def test_what_was_never_a_job_is_404(live: Live, job_id: str) -> None:
    response = await live.client.get(f"/report-jobs/{job_id}/events")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_client_that_leaves_is_forgotten(live: Live) -> None:
    job_id = await live.add()
    async with live.stream(job_id) as events:
        await events.next()
        await live.until_watched_by(1)
    await live.until_watched_by(0)


@pytest.mark.parametrize("live", [{"CLIENT_TIMEOUT": "2"}], indirect=True)
async def test_a_client_that_reads_nothing_is_dropped(live: Live) -> None:
    job_id = await live.add(**RUNNING)
    writer = await connect_and_read_nothing(live.served.port)
    try:
        writer.write(f"GET /report-jobs/{job_id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await live.until_watched_by(1)
        changes = asyncio.create_task(change_for_ever(live, job_id))
        try:
            await live.until_watched_by(0)
        finally:
            changes.cancel()
            await asyncio.gather(changes, return_exceptions=True)
    finally:
        writer.close()


async def change_for_ever(live: Live, job_id: str) -> None:
    """Change a job to states of some size, again and again."""
    offset = 10
    while True:
        offset += 1
        message = f"{offset} " * 10_000
        await live.change(job_id, progress_phase=message, events_offset=offset)


async def test_a_stop_of_the_gateway_closes_all_streams_at_once(live: Live) -> None:
    job_id = await live.add()
    async with live.stream(job_id) as events:
        await events.next()
        waiting = asyncio.create_task(
            live.client.get(f"/report-jobs/{job_id}", headers={"prefer": f"wait={LONG}"})
        )
        await live.until_watched_by(2)
        live.served.stop()
        # Far sooner than the grace is over: both answers end well, and nobody is cut off.
        assert await rest(events) == []
        assert (await waiting).json()["status"] == "PENDING"


@contextmanager
def more_files() -> Iterator[None]:
    """Allow this process, both ends of every connection, as many files as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("live", [{"STREAM_LONGEST": "0.5"}], indirect=True)
async def test_a_stream_ends_at_its_longest_and_goes_on_where_the_client_comes_back(
    live: Live,
) -> None:
    job_id = await live.add(status="RUNNING", events_offset=3)
    async with live.stream(job_id) as events:
        assert await rest(events) == [("0-3", "job")]
    await live.until_watched_by(0)
    await live.change(job_id, **COMPLETED)
    async with live.stream(job_id, "0-3") as events:
        assert await rest(events) == [("0-9", "job")]


@pytest.mark.parametrize(
    ("live", "is_silent"),
    # Each in one way only: nothing happens, or the silence is too short to be filled.
    [(BY_KEY, True), ({**BY_KEY, "STREAM_QUIET": LONG}, False)],
    indirect=["live"],
    ids=["in silence", "with the next state"],
)
async def test_a_stream_ends_when_its_key_is_revoked(live: Live, *, is_silent: bool) -> None:
    _, created, _ = await keys("create", "--tenant", "default", "--name", "to be revoked")
    key = created.strip()
    live.client.headers["authorization"] = f"Bearer {key}"

    async def answers(status: int) -> bool:
        return (await live.client.get("/report-types")).status_code == status

    await poll_until(lambda: answers(200), seconds=SECONDS)
    job_id = await live.add(status="RUNNING")
    async with live.stream(job_id) as events:
        assert (await events.next()).status == "RUNNING"
        await keys("revoke", key.split("_")[1])
        await poll_until(lambda: answers(401), seconds=SECONDS)
        if not is_silent:
            await live.change(job_id, **ENDED)
        assert await rest(events) == []
    await live.until_watched_by(0)


@pytest.mark.parametrize(
    "live",
    [{"MAX_WATCHERS": "2"}, {"MAX_TENANT_WATCHERS": "2"}, {"MAX_CONNECTIONS": "3"}],
    indirect=True,
    ids=str,
)
async def test_where_as_many_follow_as_may_one_more_is_refused_and_a_wait_is_no_wait(
    live: Live,
) -> None:
    job_id = await live.add(status="RUNNING")
    path = f"/report-jobs/{job_id}"
    async with live.stream(job_id) as one, live.stream(job_id) as two:
        refused = await live.client.get(f"{path}/events")
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:report-jobs:problem:temporarily-unavailable"
        assert int(refused.headers["retry-after"]) > 0
        # The live client gives up long before that.
        waited = await live.client.get(path, headers={"prefer": f"wait={LONG}"})
        assert (waited.status_code, waited.json()["status"]) == (200, "RUNNING")
        await live.change(job_id, **ENDED)
        for events in (one, two):
            assert [event.status async for event in events] == ["RUNNING", "FAILED"]
    await live.until_watched_by(0)
    async with live.stream(job_id) as again:
        assert (await again.next()).status == "FAILED"


STREAMS = 2000
JOBS = 20


async def open_raw(live: Live, job_id: str, cleanup: ExitStack) -> asyncio.StreamReader:
    """Open a stream without a client library's costs, and read its first event."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.served.port)
    cleanup.callback(writer.close)
    path = f"/report-jobs/{job_id}/events"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert b'"status":"PENDING"' in await reader.readuntil(b"}\n\n")
    return reader


@pytest.mark.parametrize("live", [{"STREAM_QUIET": "15"}], indirect=True)
async def test_two_thousand_open_streams_all_get_the_end(live: Live) -> None:
    jobs = [await live.add() for _ in range(JOBS)]
    with more_files(), ExitStack() as cleanup:
        readers = [
            reader
            for _ in range(STREAMS // JOBS)
            for reader in await asyncio.gather(*(open_raw(live, job, cleanup) for job in jobs))
        ]
        assert await live.watches() == STREAMS
        await live.admin.execute("UPDATE read_model.jobs SET status = 'FAILED', events_offset = 1")
        await live.notify()  # too many to name
        async with asyncio.timeout(120):
            ends = await asyncio.gather(*(reader.read() for reader in readers))
        assert all(end.count(b'"status":"FAILED"') == 1 for end in ends)
        await live.until_watched_by(0)
