"""Every route asks who the caller is and what it may do; no tenant sees another's jobs."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Final

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from gateway.domain import Caller, Job, JobStatus, NotAuthenticatedError, RatePolicy, Scope
from gateway.routes.openapi import document
from gateway.routes.services import Requires
from gateway.service import RateLimit, RateLimits
from tests.support.gateway import REQUEST, FakeGateway

PUBLIC: Final = {
    ("GET", "/report-jobs/{jobId}/download"),
    ("HEAD", "/report-jobs/{jobId}/download"),
}
"""What needs no credential: the signed link is one."""


ABOUT_THE_API: Final = {
    "/openapi.json",
    "/docs",
    "/docs/start.js",
    "/docs/swagger-ui.css",
    "/docs/swagger-ui-bundle.js",
}
"""What says nothing about any tenant."""


class NamedCallers:
    """Takes `Bearer <tenant>:<scope>,<scope>` at its word."""

    async def authenticate(self, authorization: str | None) -> Caller:
        if authorization is None:
            raise NotAuthenticatedError("no credential")
        tenant, _, scopes = authorization.removeprefix("Bearer ").partition(":")
        return Caller(tenant, frozenset(map(Scope, filter(None, scopes.split(",")))))


def operations() -> Iterator[tuple[str, str, APIRoute]]:
    for route in FakeGateway().application().routes:
        if isinstance(route, Route) and not isinstance(route, APIRoute):
            assert route.path in ABOUT_THE_API, f"{route} asks nobody who they are"
            continue
        assert isinstance(route, APIRoute), f"{route} is no operation of the API"
        for method in sorted(route.methods or ()):
            yield method, route.path_format, route


PROTECTED: Final = [
    pytest.param(method, path, id=f"{method} {path}")
    for method, path, _ in operations()
    if (method, path) not in PUBLIC
]


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway(access=NamedCallers())


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


def needed(method: str, path: str) -> Scope:
    [route] = [found for verb, where, found in operations() if (verb, where) == (method, path)]
    [scope] = [
        dependency.call.scope
        for dependency in route.dependant.dependencies
        if isinstance(dependency.call, Requires)
    ]
    return scope


async def ask(
    client: httpx.AsyncClient, method: str, path: str, job_id: str, credential: str | None
) -> httpx.Response:
    headers = {} if credential is None else {"authorization": f"Bearer {credential}"}
    body = REQUEST if method == "POST" else None
    return await client.request(method, path.replace("{jobId}", job_id), headers=headers, json=body)


def is_problem(response: httpx.Response, slug: str) -> bool:
    """Tell whether an answer is this problem; that to HEAD has no body to look at."""
    if response.request.method == "HEAD":
        return response.headers["content-type"] == "application/problem+json"
    return bool(response.json()["type"] == f"urn:report-jobs:problem:{slug}")


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_who_says_nothing_is_asked_who_they_are(
    gateway: FakeGateway, client: httpx.AsyncClient, method: str, path: str
) -> None:
    job_id = gateway.job_ids.new("acme")
    response = await ask(client, method, path, job_id, None)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="report-jobs"'
    assert response.headers["content-type"] == "application/problem+json"
    assert gateway.bus.published == []


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize("query", ["?status=a&status=b", "?status=a", "?pageSize=x&pageToken="])
async def test_who_says_nothing_is_told_nothing_of_a_query_that_makes_no_sense(
    gateway: FakeGateway, client: httpx.AsyncClient, method: str, path: str, query: str
) -> None:
    response = await ask(client, method, path + query, gateway.job_ids.new("acme"), None)
    assert response.status_code == 401


async def test_a_query_that_makes_no_sense_is_counted_once_as_every_request() -> None:
    limits = RateLimits(read=RateLimit(RatePolicy("read", 1, 9), lambda: 0.0))
    async with FakeGateway(rate_limits=limits).client() as client:
        for left, query in ((8, "?status=a&status=b"), (7, "?status=a"), (6, "")):
            response = await client.get("/report-jobs" + query)
            assert response.headers["ratelimit"].startswith(f'"read";r={left};')


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_other_scopes_than_the_one_that_is_needed_dont_do(
    gateway: FakeGateway, client: httpx.AsyncClient, method: str, path: str
) -> None:
    scope = needed(method, path)
    others = ",".join(set(Scope) - {scope, Scope.ADMIN})
    response = await ask(client, method, path, gateway.job_ids.new("acme"), f"acme:{others}")
    assert response.status_code == 403
    assert f'error="insufficient_scope", scope="{scope}"' in response.headers["www-authenticate"]
    assert is_problem(response, "not-permitted")
    assert gateway.bus.published == []


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_the_scope_that_is_needed_does_and_so_does_admin(
    gateway: FakeGateway, client: httpx.AsyncClient, method: str, path: str
) -> None:
    for scope in (needed(method, path), Scope.ADMIN):
        job_id = gateway.job_ids.new("acme")
        # One that has ended, so that nobody waits for what becomes of it.
        ended = replace(Job.pending(job_id, gateway.clock()), status=JobStatus.FAILED)
        gateway.read_model.add(ended, "acme")
        response = await ask(client, method, path, job_id, f"acme:{scope}")
        assert response.status_code not in {401, 403}


@pytest.mark.parametrize(
    ("method", "path"), [one for one in PROTECTED if "{jobId}" in str(one.values[1])]
)
@pytest.mark.parametrize("has_row", [True, False], ids=["with a row", "just accepted"])
async def test_the_job_of_another_tenant_is_404(
    gateway: FakeGateway, client: httpx.AsyncClient, method: str, path: str, *, has_row: bool
) -> None:
    job_id = gateway.job_ids.new("acme")
    if has_row:
        gateway.read_model.add(Job.pending(job_id, gateway.clock()), "acme")
    response = await ask(client, method, path, job_id, "rival:admin")
    assert response.status_code == 404
    assert is_problem(response, "job-not-found")
    assert gateway.bus.published == []


async def test_a_tenant_lists_its_own_jobs_alone(
    gateway: FakeGateway, client: httpx.AsyncClient
) -> None:
    job_id = gateway.job_ids.new("acme")
    gateway.read_model.add(Job.pending(job_id, gateway.clock()), "acme")
    ours = await ask(client, "GET", "/report-jobs", "", "acme:read")
    theirs = await ask(client, "GET", "/report-jobs", "", "rival:read")
    assert [job["jobId"] for job in ours.json()["reportJobs"]] == [job_id]
    assert theirs.json()["reportJobs"] == []


async def test_a_job_belongs_to_the_tenant_of_the_credential(
    gateway: FakeGateway, client: httpx.AsyncClient
) -> None:
    response = await ask(client, "POST", "/generate-report", "", "acme:submit")
    assert gateway.job_ids.is_certified(response.json()["jobId"], "acme")


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_the_document_names_the_scope_and_the_refusals(method: str, path: str) -> None:
    operation = document()["paths"][path][method.lower()]
    assert operation["security"] == [{"bearer": [needed(method, path)]}]
    assert {"401", "403"} <= operation["responses"].keys()


@pytest.mark.parametrize(("method", "path"), sorted(PUBLIC))
def test_the_document_says_what_needs_no_credential(method: str, path: str) -> None:
    assert document()["paths"][path][method.lower()]["security"] == []
