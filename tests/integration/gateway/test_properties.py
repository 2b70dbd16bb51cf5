"""Property-based requests to a served gateway, made from the published document and from ours."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks as openapi_checks

from gateway.routes.openapi import document
from local_stack.child import ChildProcess
from local_stack.paths import CHECKOUT, StackDirectory
from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK, free_ports
from local_stack.services import SERVICES, answers_ready, process_spec
from shared.bus.topics import ensure_topics
from shared.settings import KafkaSettings
from tests.integration.gateway.bench import RETENTION, environment, prepare
from tests.support.servers import Kafka, Postgres

SEED: Final = yaml.safe_load((CHECKOUT / "tests" / "fixtures" / "seed-openapi.yaml").read_text())
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
# The published document names no refusals but 404; ours are 4xx beyond it.
_REFUSALS_ARE_ADDED: Final[list[schemathesis.CheckFunction]] = [
    openapi_checks.status_code_conformance,
    openapi_checks.negative_data_rejection,
]


@pytest.fixture(scope="module")
async def gateway_url(
    kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """A gateway as a process of its own, as it is deployed."""
    directory: Path = tmp_path_factory.mktemp("gateway")
    port = next(free_ports())
    [service] = (service for service in SERVICES if service.name == "gateway")
    await ensure_topics(
        KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=PREFIX), RETENTION
    )
    async with postgres.create_database() as database:
        await prepare(database)
        variables = {
            "PATH": os.environ["PATH"],
            **environment(kafka.bootstrap_servers, database, PREFIX, directory),
            "GATEWAY_PORT": str(port),
        }
        spec = process_spec(service, StackDirectory(directory), variables)
        process = await ChildProcess.start(spec)
        try:
            await poll_until(is_ready(port), seconds=60)
            yield f"http://{LOOPBACK}:{port}"
        finally:
            await process.stop()


def is_ready(port: int) -> Callable[[], Awaitable[bool]]:
    """Return a condition that holds once the gateway is ready."""

    async def condition() -> bool:
        return answers_ready(port)

    return condition


@published.parametrize()
@bounded
def test_the_published_contract_holds(case: schemathesis.Case[Any], gateway_url: str) -> None:
    response = case.call(base_url=gateway_url)
    case.validate_response(response, excluded_checks=[*_CATALOGUE_DECIDES, *_REFUSALS_ARE_ADDED])
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]


@ours.parametrize()
@bounded
def test_our_own_document_holds(case: schemathesis.Case[Any], gateway_url: str) -> None:
    response = case.call(base_url=gateway_url)
    case.validate_response(response, excluded_checks=_CATALOGUE_DECIDES)
