"""Property-based requests to a served gateway, made from the published document and from ours."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks as openapi_checks

from gateway.app import open_key_administration
from gateway.domain import Caller
from gateway.routes.openapi import document
from gateway.settings import Settings
from local_stack.paths import CHECKOUT
from local_stack.polling import poll_until
from tests.integration.gateway.bench import served_gateway
from tests.support.servers import Kafka, Postgres

SEED: Final = yaml.safe_load((CHECKOUT / "tests" / "fixtures" / "seed-openapi.yaml").read_text())
_SECONDS: Final = 90.0
PREFIX: Final = f"test-properties-{os.getpid()}."

published = schemathesis.openapi.from_dict(SEED)
ours = schemathesis.openapi.from_dict(document())
bounded = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)

# A reportType is any string to a schema, but only those of the catalogue become jobs.
_CATALOGUE_DECIDES: Final[list[schemathesis.CheckFunction]] = [
    openapi_checks.positive_data_acceptance
]
# The published document names no refusals but 404 and fewer methods; ours go beyond it.
_REFUSALS_ARE_ADDED: Final[list[schemathesis.CheckFunction]] = [
    openapi_checks.status_code_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.allow_header_conformance,
]


@dataclass(frozen=True)
class Gateway:
    """Where it is, and what opens it."""

    url: str
    headers: dict[str, str]


async def new_key(database_url: str) -> str:
    """Return an API key with all rights."""
    patience = {"database_connect_timeout": 60, "database_command_timeout": 60}
    settings = Settings.model_validate({"database_url": database_url, **patience})
    async with open_key_administration(settings) as keys:
        return await keys.create(Caller.anyone("acme"), "properties", None)


@pytest.fixture(scope="module")
async def gateway(
    kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway as a process of its own, as it is deployed."""
    directory: Path = tmp_path_factory.mktemp("gateway")
    async with (
        postgres.create_database() as database,
        served_gateway(kafka, database, PREFIX, directory, GATEWAY_AUTH="api-key") as served,
    ):
        headers = {"Authorization": f"Bearer {await new_key(database.gateway)}"}
        async with httpx.AsyncClient(base_url=served.url, timeout=_SECONDS) as client:

            async def opens() -> bool:
                return (await client.get("/report-types", headers=headers)).status_code == 200

            await poll_until(opens, seconds=_SECONDS)
        yield Gateway(served.url, headers)


def call(case: schemathesis.Case[Any], gateway: Gateway) -> schemathesis.Response:
    """Send a request with the credential, and have the case say so.

    Else a case without one counts as wrong even where nothing but a query parameter that nobody
    knows is left of what was to be wrong with it, and that is allowed.
    """
    case.headers.update(gateway.headers)
    return case.call(base_url=gateway.url, headers=gateway.headers, timeout=_SECONDS)


@published.parametrize()
@bounded
def test_the_published_contract_holds(case: schemathesis.Case[Any], gateway: Gateway) -> None:
    response = call(case, gateway)
    case.validate_response(
        response,
        headers=gateway.headers,
        excluded_checks=[*_CATALOGUE_DECIDES, *_REFUSALS_ARE_ADDED],
    )
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]


@ours.parametrize()
@bounded
def test_our_own_document_holds(case: schemathesis.Case[Any], gateway: Gateway) -> None:
    response = call(case, gateway)
    case.validate_response(response, headers=gateway.headers, excluded_checks=_CATALOGUE_DECIDES)
