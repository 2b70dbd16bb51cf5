"""Fixtures that hand out real servers; nothing starts before the first test that asks for one."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from local_stack.paths import StackDirectory
from tests.support.servers import (
    DatabaseUrls,
    Kafka,
    LocalKafka,
    LocalPostgres,
    Postgres,
    external_kafka,
    external_postgres,
    run_kafka,
    run_postgres,
    session_directory,
)


@pytest.fixture(scope="session")
def run_directory() -> Iterator[StackDirectory]:
    """Where this run's servers keep their data."""
    with session_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
async def kafka(run_directory: StackDirectory) -> AsyncIterator[Kafka]:
    """The broker of the environment or of a container engine, else a local one."""
    async with external_kafka() as external:
        if external is not None:
            yield external
            return
    async with run_kafka(run_directory) as local:
        yield local


@pytest.fixture(scope="session")
async def local_kafka(kafka: Kafka, run_directory: StackDirectory) -> AsyncIterator[LocalKafka]:
    """A broker of our own, which a test may kill; it has to run again when the test ends."""
    if isinstance(kafka, LocalKafka):
        yield kafka
        return
    async with run_kafka(run_directory) as local:
        yield local


@pytest.fixture(scope="session")
async def postgres(run_directory: StackDirectory) -> AsyncIterator[Postgres]:
    """The server of the environment or of a container engine, else a local one."""
    async with external_postgres() as external:
        if external is not None:
            yield external
            return
    async with run_postgres(run_directory) as local:
        yield local


@pytest.fixture(scope="session")
async def local_postgres(
    postgres: Postgres, run_directory: StackDirectory
) -> AsyncIterator[LocalPostgres]:
    """A server of our own, which a test may kill; it has to run again when the test ends."""
    if isinstance(postgres, LocalPostgres):
        yield postgres
        return
    async with run_postgres(run_directory) as local:
        yield local


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[DatabaseUrls]:
    """A database of this test's own, with roles and schemas but no tables."""
    async with postgres.create_database() as urls:
        yield urls


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups, so that tests that share a broker don't see each other."""
    return f"test-{secrets.token_hex(6)}."
