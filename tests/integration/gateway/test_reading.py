"""Reading the real read model: jobs, listings, downloads."""

import asyncio
import hashlib
import json
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest

from shared.clock import rfc3339, utc_now
from shared.job_id import JobId, created_at
from tests.integration.gateway.bench import RETENTION, Bench, aged

CONTENT: Final = b"day,orders\n2024-01-01,3\n" * 50_000
ARTIFACT: Final[dict[str, Any]] = {
    "artifact_path": "job/1/1-token/report.csv",
    "file_name": "orders-summary.csv",
    "media_type": "text/csv; charset=utf-8",
    "byte_count": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "row_count": 50_000,
}


def write_artifact(bench: Bench) -> None:
    path = bench.artifacts / str(ARTIFACT["artifact_path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)


async def add_completed(bench: Bench) -> JobId:
    job_id = bench.job_ids.new("default")
    await bench.add_job(job_id, status="COMPLETED", finished_at=utc_now(), **ARTIFACT)
    return job_id


async def test_a_completed_job_downloads_through_its_link(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    write_artifact(bench)
    job_id = await add_completed(bench)
    job = (await client.get(f"/report-jobs/{job_id}")).json()
    assert (job["status"], job["rowCount"]) == ("COMPLETED", 50_000)

    response = await client.get(job["downloadUrl"])
    assert response.status_code == 200
    assert response.content == CONTENT
    assert response.headers["content-disposition"] == 'attachment; filename="orders-summary.csv"'
    head = await client.head(job["downloadUrl"])
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_report_that_the_store_lost_is_a_typed_problem(
    bench: Bench, client: httpx.AsyncClient, method: str
) -> None:
    job_id = await add_completed(bench)
    url = bench.links.url(job_id, created_at(job_id) + RETENTION)
    response = await client.request(method, url)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_path_that_leaves_the_store_is_never_followed(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    (bench.artifacts.parent / "secret").write_text("x")
    job_id = bench.job_ids.new("default")
    columns: dict[str, Any] = {**ARTIFACT, "artifact_path": "../secret", "byte_count": 1}
    await bench.add_job(job_id, status="COMPLETED", **columns)
    response = await client.get(bench.links.url(job_id, created_at(job_id) + RETENTION))
    assert response.status_code >= 400
    assert response.headers["content-type"] == "application/problem+json"


async def test_jobs_asked_for_at_the_same_time_are_each_answered_with_their_own(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    there, foreign, deleted, accepted = (
        bench.job_ids.new(tenant) for tenant in ("default", "other", "default", "default")
    )
    purged = aged(timedelta(days=2))
    await bench.add_job(there, status="RUNNING")
    await bench.add_job(foreign, tenant="other")
    await bench.add_tombstone(deleted)
    await bench.set_watermark(utc_now() - timedelta(days=1))
    expected = {there: 200, foreign: 404, deleted: 410, accepted: 200, purged: 410}
    asked = [*expected] * 60
    answers = await asyncio.gather(*(client.get(f"/report-jobs/{job_id}") for job_id in asked))
    for job_id, answer in zip(asked, answers, strict=True):
        assert answer.status_code == expected[job_id]
        if answer.status_code == 200:
            status = "RUNNING" if job_id == there else "PENDING"
            assert (answer.json()["jobId"], answer.json()["status"]) == (job_id, status)


async def test_a_failed_attempt_of_a_run_that_goes_on_is_no_failure(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    job_id = bench.job_ids.new("default")
    await bench.add_job(job_id, error_code="DATA_SOURCE_UNAVAILABLE", error_message="Later.")
    job = (await client.get(f"/report-jobs/{job_id}")).json()
    assert (job["status"], job["errorCode"], job["errorMessage"]) == ("PENDING", None, None)


async def test_ids_that_are_forged_foreign_or_expired(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    real, theirs = bench.job_ids.new("default"), bench.job_ids.new("other")
    await bench.add_job(theirs, tenant="other")
    expired = aged(RETENTION + timedelta(seconds=1))
    await bench.add_job(expired, status="COMPLETED", **ARTIFACT)
    forged = real[:-1] + ("0" if real[-1] != "0" else "1")
    for job_id, status in {real: 200, forged: 404, theirs: 404, expired: 410}.items():
        assert (await client.get(f"/report-jobs/{job_id}")).status_code == status


async def test_the_listing_pages_through_this_tenants_jobs_newest_first(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    jobs = [aged(timedelta(minutes=minute)) for minute in range(10)]
    for number, job_id in enumerate(jobs):
        await bench.add_job(job_id, status="RUNNING" if number % 2 else "PENDING")
    await bench.add_job(bench.job_ids.new("other"), tenant="other")
    await bench.add_job(aged(RETENTION + timedelta(days=1)))

    seen: list[str] = []
    params: dict[str, str] = {"pageSize": "4"}
    while True:
        page = (await client.get("/report-jobs", params=params)).json()
        seen += [job["jobId"] for job in page["reportJobs"]]
        if page["nextPageToken"] is None:
            break
        params["pageToken"] = page["nextPageToken"]
    assert seen == jobs

    window = {
        "status": "RUNNING",
        "reportType": "ORDERS_SUMMARY",
        "createdAfter": rfc3339(created_at(jobs[7])),
        "createdBefore": rfc3339(created_at(jobs[1])),
    }
    page = (await client.get("/report-jobs", params=window)).json()
    assert [job["jobId"] for job in page["reportJobs"]] == [jobs[3], jobs[5], jobs[7]]


async def test_progress_and_a_cancel_that_concerns_the_run_are_shown(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    running, retried = bench.job_ids.new("default"), bench.job_ids.new("default")
    columns: dict[str, Any] = {
        "progress_phase": "query",
        "progress_percent": 40,
        "rows_processed": 20_000,
        "requests_offset": 3,
        "events_offset": 17,
    }
    await bench.add_job(running, status="RUNNING", cancel_run=1, **columns)
    await bench.add_job(retried, execution_version=[2, 0, 0, 0, 0], cancel_run=1)
    response = await client.get(f"/report-jobs/{running}")
    assert response.headers["etag"].startswith('"3-17-')
    job = response.json()
    assert job["progress"] == {
        "phase": "query",
        "percent": 40,
        "rowsProcessed": 20_000,
        "rowsTotal": None,
    }
    assert job["cancelRequested"] is True
    job = (await client.get(f"/report-jobs/{retried}")).json()
    assert (job["run"], job["cancelRequested"]) == (2, False)


async def test_a_tombstone_is_gone_and_in_no_listing(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    job_id = bench.job_ids.new("default")
    await bench.add_tombstone(job_id)
    response = await client.get(f"/report-jobs/{job_id}")
    assert response.status_code == 410
    assert response.json()["type"] == "urn:report-jobs:problem:job-deleted"
    assert (await client.get("/report-jobs")).json()["reportJobs"] == []
    link = bench.links.url(job_id, created_at(job_id) + RETENTION)
    assert (await client.get(link)).status_code == 410


async def test_a_job_that_was_purged_is_gone_although_its_id_verifies(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    job_id, younger = aged(timedelta(hours=2)), aged(timedelta(minutes=1))
    await bench.set_watermark(utc_now() - timedelta(hours=1))
    response = await client.get(f"/report-jobs/{job_id}")
    assert response.status_code == 410
    assert response.json()["type"] == "urn:report-jobs:problem:job-expired"
    assert (await client.get(f"/report-jobs/{younger}")).status_code == 200


async def test_the_history_of_a_job_is_shown_as_its_runs(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    job_id = bench.job_ids.new("default")
    moment = "2026-01-01T00:00:0{}.000000Z"
    history = {
        "a": {"event": "JobFailed", "run": 1, "attempt": 1, "at": moment.format(2),
              "startedAt": moment.format(1), "errorCode": "CRASHED", "errorMessage": "So."},
        "b": {"event": "RetryRequested", "run": 2, "at": moment.format(3)},
    }  # fmt: skip
    await bench.add_job(job_id, execution_version=[2, 0, 0, 0, 0], history=json.dumps(history))
    [first, second] = (await client.get(f"/report-jobs/{job_id}")).json()["runs"]
    assert (first["status"], first["errorCode"]) == ("FAILED", "CRASHED")
    assert [one["outcome"] for one in first["attempts"]] == ["FAILED"]
    assert (second["status"], second["requestedAt"]) == ("PENDING", moment.format(3))
    [listed] = (await client.get("/report-jobs")).json()["reportJobs"]
    assert "runs" not in listed
