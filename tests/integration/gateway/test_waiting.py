"""`Prefer: wait` on a served gateway: the answer comes with the change, or when time is up."""

import asyncio
from typing import Any

import httpx
import pytest

from shared.clock import utc_now
from tests.integration.gateway.live import LONG, SECONDS, Live

RUNNING: dict[str, Any] = {"status": "RUNNING", "events_offset": 1}
PROGRESS: dict[str, Any] = {"progress_phase": "query", "progress_percent": 40, "events_offset": 2}
ENDED: dict[str, Any] = {"status": "FAILED", "error_code": "TIMED_OUT", "events_offset": 3}


def waiting(live: Live, job_id: str, wait: str, **headers: str) -> "asyncio.Task[httpx.Response]":
    """Start a request that is willing to wait."""
    headers = {"prefer": wait, **{name.replace("_", "-"): text for name, text in headers.items()}}
    return asyncio.create_task(live.client.get(f"/report-jobs/{job_id}", headers=headers))


async def test_the_answer_comes_when_the_status_changes(live: Live) -> None:
    job_id = await live.add()
    for columns in (RUNNING, ENDED):
        request = waiting(live, job_id, f"wait={LONG}")
        await live.until_watched_by(1)
        await live.change(job_id, **columns)
        async with asyncio.timeout(SECONDS):
            response = await request
        assert response.status_code == 200
        assert response.json()["status"] == columns["status"]
        assert response.headers["preference-applied"] == f"wait={LONG}"
        await live.until_watched_by(0)


async def test_a_job_of_which_nothing_was_heard_yet_is_waited_for(live: Live) -> None:
    job_id = live.new_id()
    request = waiting(live, job_id, f"wait={LONG}")
    await live.until_watched_by(1)
    await live.bench.add_job(job_id, requests_offset=1, **RUNNING)
    await live.notify(job_id)
    assert (await request).json()["status"] == "RUNNING"


async def test_progress_is_a_change_only_to_those_who_say_what_they_know(live: Live) -> None:
    job_id = await live.add(**RUNNING)
    etag = (await live.client.get(f"/report-jobs/{job_id}")).headers["etag"]
    patient, curious = (
        waiting(live, job_id, f"wait={LONG}"),
        waiting(live, job_id, f"wait={LONG}", if_none_match=etag),
    )
    await live.until_watched_by(2)
    await live.change(job_id, **PROGRESS)
    async with asyncio.timeout(SECONDS):
        response = await curious
    assert response.status_code == 200
    assert response.json()["progress"]["percent"] == 40
    assert response.headers["etag"] != etag
    assert not patient.done()
    await live.change(job_id, **ENDED)
    assert (await patient).json()["status"] == "FAILED"


async def test_nothing_new_within_the_time_is_200_or_for_those_who_know_it_304(live: Live) -> None:
    job_id = await live.add(**RUNNING)
    response = await waiting(live, job_id, "wait=1")
    assert (response.status_code, response.json()["status"]) == (200, "RUNNING")
    response = await waiting(live, job_id, "wait=1", if_none_match=response.headers["etag"])
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["preference-applied"] == "wait=1"


async def test_what_is_new_already_and_what_has_ended_is_answered_at_once(live: Live) -> None:
    running, ended = await live.add(**RUNNING), await live.add(**ENDED)
    async with asyncio.timeout(SECONDS):  # less than the wait
        response = await waiting(live, running, f"wait={LONG}", if_none_match='"0-0-something"')
        assert response.status_code == 200
        response = await waiting(live, ended, f"wait={LONG}")
        assert response.json()["status"] == "FAILED"
        etag = response.headers["etag"]
        assert (await waiting(live, ended, f"wait={LONG}", if_none_match=etag)).status_code == 304


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("respond-async, wait=1", "wait=1"),
        ("WAIT = 1; x=y, wait=50", "wait=1"),
        ('wait="1"', "wait=1"),
        ("wait=0", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=\u0661", None),
        ("wait=" + "9" * 5000, None),
        ("wait", None),
        ("", None),
    ],
)
async def test_a_preference_is_applied_where_it_is_understood(
    live: Live, prefer: str, applied: str | None
) -> None:
    job_id = await live.add()
    response = await live.client.get(f"/report-jobs/{job_id}", headers={b"prefer": prefer.encode()})
    assert response.status_code == 200
    assert response.headers.get("preference-applied") == applied


@pytest.mark.parametrize("live", [{"LONGEST_WAIT": "60"}], indirect=True)
async def test_the_wait_is_as_long_as_the_gateway_allows(live: Live) -> None:
    job_id = await live.add(**ENDED)
    response = await waiting(live, job_id, "wait=999999999")
    assert response.headers["preference-applied"] == "wait=60"


async def test_a_client_that_leaves_is_forgotten(live: Live) -> None:
    job_id = await live.add()
    request = waiting(live, job_id, f"wait={LONG}")
    await live.until_watched_by(1)
    request.cancel()
    await live.until_watched_by(0)


async def test_a_change_while_nobody_listened_is_found_after_the_reconnect(live: Live) -> None:
    job_id = await live.add()
    request = waiting(live, job_id, f"wait={LONG}")
    await live.until_watched_by(1)
    await live.change_silently(job_id, **RUNNING)
    await live.admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'gateway-listen' AND datname = current_database()"
    )
    async with asyncio.timeout(SECONDS):
        assert (await request).json()["status"] == "RUNNING"


async def test_a_job_deleted_meanwhile_is_410_and_one_never_made_404(live: Live) -> None:
    job_id = await live.add()
    request = waiting(live, job_id, f"wait={LONG}")
    await live.until_watched_by(1)
    await delete(live, job_id)
    assert (await request).status_code == 410
    for nonsense in ("job_12345", "job_" + "0" * 40):
        assert (await waiting(live, nonsense, f"wait={LONG}")).status_code in {404, 410}


async def delete(live: Live, job_id: str) -> None:
    """Leave the tombstone that a deletion leaves."""
    empty = (
        "description_version", "description_digest", "report_type", "format", "created_at",
        "execution_version", "execution_digest", "status", "updated_at",
    )  # fmt: skip
    await live.change(job_id, deleted_at=utc_now(), **dict.fromkeys(empty))
