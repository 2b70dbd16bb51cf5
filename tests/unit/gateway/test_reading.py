"""`GET /report-jobs/{jobId}`, the listing and the catalogue over HTTP."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gateway.domain import Job, JobStatus, Progress, StoredArtifact, Vector, WebhookOutcome
from gateway.routes.revision import revision_of
from shared.job_id import created_at
from shared.keyring import KeyRing
from shared.links import DownloadLinks
from tests.support.gateway import NOW, FakeGateway

ARTIFACT = StoredArtifact("a/1/report.csv", "orders.csv", "text/csv", 4, "ab" * 32)


def accepted(gateway: FakeGateway) -> Job:
    job_id = gateway.job_ids.new("default")
    return Job.pending(job_id, created_at(job_id), report_type="ORDERS_SUMMARY", format="CSV")


async def test_a_job_just_accepted_is_pending_with_a_time_to_poll(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job_id = gateway.job_ids.new("default")
    response = await client.get(f"/report-jobs/{job_id}")
    assert response.status_code == 200
    assert response.headers["retry-after"] == "1"
    assert response.headers["cache-control"] == "private, no-cache"
    assert (response.json()["jobId"], response.json()["status"]) == (job_id, "PENDING")


async def test_a_completed_job_has_a_link_and_no_time_to_poll(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    finished = NOW + timedelta(seconds=4)
    job = gateway.read_model.add(
        replace(
            accepted(gateway),
            status=JobStatus.COMPLETED,
            finished_at=finished,
            updated_at=finished,
            row_count=0,
            artifact=ARTIFACT,
            webhook=WebhookOutcome("DELIVERED", 2, finished),
        )
    )
    response = await client.get(f"/report-jobs/{job.job_id}")
    assert "retry-after" not in response.headers
    body = response.json()
    assert body["status"] == "COMPLETED"
    assert body["downloadUrl"].startswith(
        f"https://reports.example.com/v1/report-jobs/{job.job_id}/download?exp="
    )
    assert (body["rowCount"], body["byteCount"]) == (0, 4)
    assert body["finishedAt"] == "2024-02-01T09:30:04.000000Z"
    assert body["webhook"] == {
        "status": "DELIVERED",
        "attempts": 2,
        "updatedAt": "2024-02-01T09:30:04.000000Z",
    }


async def test_a_failed_job_says_why_with_200(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = gateway.read_model.add(
        replace(
            accepted(gateway),
            status=JobStatus.FAILED,
            error_code="REPORT_GENERATION_FAILED",
            error_message="Downstream data source unavailable.",
            retryable=True,
        )
    )
    response = await client.get(f"/report-jobs/{job.job_id}")
    assert response.status_code == 200
    assert "retry-after" not in response.headers
    body = response.json()
    assert body["errorCode"] == "REPORT_GENERATION_FAILED"
    assert body["errorMessage"] == "Downstream data source unavailable."
    assert (body["retryable"], body["downloadUrl"]) == (True, None)


@pytest.mark.parametrize(
    "path",
    ["job_12345", "job_" + "0" * 39 + "w", "..", "%2e%2e", "a%00b", "%ff%fe", "job_é", "x" * 8000,
     "%F0%9F%92%A9", "job_%0d%0aSet-Cookie:%20x", "' OR 1=1 --", "%25%32%65"],
)  # fmt: skip
async def test_an_id_that_is_none_is_404(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(f"/report-jobs/{path}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_expired_job_is_410(client: httpx.AsyncClient, gateway: FakeGateway) -> None:
    job = gateway.read_model.add(accepted(gateway))
    gateway.clock.now += timedelta(days=8)
    response = await client.get(f"/report-jobs/{job.job_id}")
    assert response.status_code == 410
    assert response.json()["type"] == "urn:report-jobs:problem:job-expired"


async def test_a_running_job_says_how_far_it_is_and_whether_it_was_asked_to_stop(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = gateway.read_model.add(
        replace(
            accepted(gateway),
            status=JobStatus.RUNNING,
            run=2,
            progress=Progress("query", 40, 20_000, None),
            cancel_requested=True,
        )
    )
    body = (await client.get(f"/report-jobs/{job.job_id}")).json()
    assert body["progress"] == {
        "percent": 40,
        "phase": "query",
        "rowsProcessed": 20_000,
        "rowsTotal": None,
    }
    assert (body["run"], body["cancelRequested"]) == (2, True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_job_that_has_not_changed_is_304(
    client: httpx.AsyncClient, gateway: FakeGateway, method: str
) -> None:
    job = gateway.read_model.add(replace(accepted(gateway), vector=Vector(3, 17)))
    path = f"/report-jobs/{job.job_id}"
    first = await client.request(method, path)
    tag = first.headers["etag"]
    assert tag.startswith('"3-17-')
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.request(method, path, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b""), known
        assert again.headers["etag"] == tag
        assert again.headers["retry-after"] == "1"
    for known in ('"3-16-abcdef"', tag.strip('"'), '"'):
        again = await client.request(method, path, headers={"if-none-match": known})
        assert again.status_code == 200, known


async def test_head_has_the_headers_of_get_and_no_body(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    path = f"/report-jobs/{gateway.job_ids.new('default')}"
    shown, described = await client.get(path), await client.head(path)
    assert described.headers == shown.headers
    assert described.status_code == 200


async def test_the_tag_changes_with_the_job_and_with_all_else_that_is_shown(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = gateway.read_model.add(accepted(gateway))
    before = (await client.get(f"/report-jobs/{job.job_id}")).headers["etag"]
    gateway.read_model.jobs["default"] = [replace(job, vector=Vector(1, 0))]
    assert (await client.get(f"/report-jobs/{job.job_id}")).headers["etag"] != before

    revisions = {
        revision_of(DownloadLinks(url, KeyRing(number, {number: key * 32}), gateway.clock), days)
        for url, number, key, days in (
            ("https://a.example", 1, b"k", timedelta(days=7)),
            ("https://b.example", 1, b"k", timedelta(days=7)),
            ("https://a.example", 2, b"k", timedelta(days=7)),
            ("https://a.example", 1, b"l", timedelta(days=7)),
            ("https://a.example", 1, b"k", timedelta(days=8)),
        )
    }
    assert len(revisions) == 5


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_deleted_job_is_gone(
    client: httpx.AsyncClient, gateway: FakeGateway, method: str
) -> None:
    job_id = gateway.job_ids.new("default")
    gateway.read_model.deleted.add(job_id)
    response = await client.request(method, f"/report-jobs/{job_id}")
    assert response.status_code == 410
    assert method == "HEAD" or response.json()["type"] == "urn:report-jobs:problem:job-deleted"


@pytest.mark.parametrize("path", ["/report-jobs", "/report-jobs/{}"])
async def test_a_database_that_is_away_is_503_with_a_time_to_retry(
    client: httpx.AsyncClient, gateway: FakeGateway, path: str
) -> None:
    gateway.read_model.is_away = True
    response = await client.get(path.format(gateway.job_ids.new("default")))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


async def test_the_listing_pages_newest_first_by_token(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    made = []
    for _ in range(3):
        made.append(gateway.read_model.add(accepted(gateway)).job_id)
        gateway.clock.now += timedelta(milliseconds=1)
    first = (await client.get("/report-jobs", params={"pageSize": 2})).json()
    assert [job["jobId"] for job in first["reportJobs"]] == [made[2], made[1]]
    rest = await client.get(
        "/report-jobs", params={"pageSize": 2, "pageToken": first["nextPageToken"]}
    )
    assert [job["jobId"] for job in rest.json()["reportJobs"]] == [made[0]]
    assert rest.json()["nextPageToken"] is None


async def test_the_listing_is_filtered(client: httpx.AsyncClient, gateway: FakeGateway) -> None:
    job = gateway.read_model.add(accepted(gateway))
    gateway.read_model.add(replace(accepted(gateway), status=JobStatus.RUNNING))
    gateway.read_model.add(replace(accepted(gateway), report_type="ORDERS_DETAIL"))
    params = {
        "status": "PENDING",
        "reportType": "ORDERS_SUMMARY",
        "createdAfter": "2024-02-01T10:30:00+01:00",
        "createdBefore": "2024-02-01T09:30:00.001Z",
    }
    response = await client.get("/report-jobs", params=params)
    assert [found["jobId"] for found in response.json()["reportJobs"]] == [job.job_id]


@pytest.mark.parametrize(
    ("params", "field", "code"),
    [
        ({"status": "DONE"}, "/status", "NOT_ALLOWED"),
        ({"status": ""}, "/status", "NOT_ALLOWED"),
        ({"pageSize": "many"}, "/pageSize", "WRONG_TYPE"),
        ({"pageSize": "9" * 5000}, "/pageSize", "INVALID_VALUE"),
        ({"pageSize": "1e3"}, "/pageSize", "WRONG_TYPE"),
        ({"pageToken": "nonsense"}, "/pageToken", "PAGE_TOKEN_INVALID"),
        ({"pageToken": "A" * 201}, "/pageToken", "TOO_LONG"),
        ({"reportType": "a\x00"}, "/reportType", "INVALID_VALUE"),
        ({"reportType": "orders"}, "/reportType", "INVALID_VALUE"),
        ({"createdAfter": "yesterday"}, "/createdAfter", "INVALID_VALUE"),
        ({"createdAfter": "1706780000"}, "/createdAfter", "INVALID_VALUE"),
        ({"createdAfter": "2024-02-01"}, "/createdAfter", "INVALID_VALUE"),
        ({"createdBefore": "2024-02-30T00:00:00Z"}, "/createdBefore", "INVALID_VALUE"),
        ({"createdBefore": "2024-02-01T00:00:00+99:00"}, "/createdBefore", "INVALID_VALUE"),
    ],
)
async def test_bad_filters_are_422_by_name(
    client: httpx.AsyncClient, params: dict[str, str], field: str, code: str
) -> None:
    response = await client.get("/report-jobs", params=params)
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"] == "urn:report-jobs:problem:invalid-request"
    assert [(error["field"], error["code"]) for error in problem["errors"]] == [(field, code)]


@pytest.mark.parametrize(
    "query", ["status=FAILED&status=PENDING", "pageSize=1&status=FAILED&pageSize=1"]
)
async def test_a_filter_that_is_given_twice_is_422(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/report-jobs?{query}&unknown=1&unknown=2")
    assert response.status_code == 422
    [error] = response.json()["errors"]
    name = query.partition("=")[0]
    assert (error["field"], error["code"]) == (f"/{name}", "REPEATED")


@pytest.mark.parametrize("path", ["/report-jobs", "/report-jobs?pageSize=x", "/report-types"])
async def test_head_of_what_is_listed_has_the_headers_of_get(
    client: httpx.AsyncClient, gateway: FakeGateway, path: str
) -> None:
    gateway.read_model.add(accepted(gateway))
    head, get = await client.head(path), await client.get(path)
    assert (head.status_code, head.headers) == (get.status_code, get.headers)
    assert get.content


@pytest.mark.parametrize(
    "params",
    [
        {"pageSize": "0"},
        {"pageSize": "-7"},
        {"pageSize": "100000"},
        {"createdAfter": "0001-01-01T00:00:00+23:59", "createdBefore": "9999-12-31T23:59:59-23:59"},
        {"unknown": "x"},
    ],
)
async def test_filters_at_the_edge_are_served(
    client: httpx.AsyncClient, gateway: FakeGateway, params: dict[str, str]
) -> None:
    gateway.read_model.add(accepted(gateway))
    response = await client.get("/report-jobs", params=params)
    assert response.status_code == 200
    assert len(response.json()["reportJobs"]) == 1


async def test_the_catalogue_says_what_can_be_asked_for(client: httpx.AsyncClient) -> None:
    response = await client.get("/report-types")
    assert response.status_code == 200
    types: dict[str, Any] = {entry["name"]: entry for entry in response.json()["reportTypes"]}
    assert set(types) == {
        "CUSTOMERS_EXPORT",
        "ORDERS_DETAIL",
        "ORDERS_SUMMARY",
        "SALES_ANALYTICS",
    }
    detail = types["ORDERS_DETAIL"]
    assert detail["title"] == "Orders in detail"
    assert detail["formats"] == ["CSV", "JSON", "NDJSON", "PDF", "XLSX"]
    assert detail["parameters"]["properties"]["currency"]["pattern"] == "^[A-Z]{3}$"
    assert "sql" not in detail
