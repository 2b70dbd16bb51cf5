"""Whatever goes wrong is a problem document, and tells nothing about our insides."""

import httpx
import pytest

from gateway.domain import Job
from shared.job_id import JobId
from tests.support.gateway import FakeGateway


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/report-jobs/", 404, "not-found"),
        ("GET", "/report-jobs/a/b", 404, "not-found"),
        ("GET", "/docs/", 404, "not-found"),
        ("GET", "/docs/../pyproject.toml", 404, "not-found"),
        ("GET", "/docs/..%2fpyproject.toml", 404, "not-found"),
        ("GET", "/redoc", 404, "not-found"),
        ("GET", "//report-jobs", 404, "not-found"),
        ("GET", "/report-jobs%00", 404, "not-found"),
        ("GET", "/generate-report", 405, "method-not-allowed"),
        ("DELETE", "/report-jobs", 405, "method-not-allowed"),
        ("BREW", "/report-types", 405, "method-not-allowed"),
    ],
)
async def test_what_isnt_there_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, status: int, slug: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem = response.json()
    assert problem["type"] == f"urn:report-jobs:problem:{slug}"
    assert (problem["status"], problem["instance"]) == (status, response.request.url.path)
    assert problem["title"]
    assert problem["detail"]
    assert ("allow" in response.headers) == (status == 405)


async def test_a_405_names_all_methods_of_the_address(client: httpx.AsyncClient) -> None:
    response = await client.put("/report-jobs/job_12345")
    assert response.headers["allow"] == "DELETE, GET, HEAD"


async def test_a_defect_is_a_problem_without_a_trace_of_it(
    client: httpx.AsyncClient, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def defect(_job_id: JobId, _tenant: str) -> Job | None:
        raise RuntimeError("postgresql://gateway:hunter2@db")

    monkeypatch.setattr(gateway.read_model, "get", defect)
    response = await client.get(f"/report-jobs/{gateway.job_ids.new('default')}")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "urn:report-jobs:problem:internal-error"
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text


async def test_requests_are_counted_by_route_and_not_by_what_clients_invent(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    await client.get(f"/report-jobs/{gateway.job_ids.new('default')}")
    await client.get("/report-jobs/job_12345")
    await client.get("/made/up")
    await client.request("BREW", "/made/up/too")

    def counted(method: str, route: str, status: str) -> float | None:
        labels = {"method": method, "route": route, "status": status}
        return gateway.registry.get_sample_value("report_jobs_gateway_requests_total", labels)

    assert counted("GET", "/report-jobs/{jobId}", "200") == 1
    assert counted("GET", "/report-jobs/{jobId}", "404") == 1
    assert counted("GET", "none", "404") == 1
    assert counted("other", "none", "404") == 1
    timed = gateway.registry.get_sample_value(
        "report_jobs_gateway_request_seconds_count",
        {"method": "GET", "route": "/report-jobs/{jobId}"},
    )
    assert timed == 2
