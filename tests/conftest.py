"""Fixtures that hand out real servers; nothing starts before the first test that asks for one."""

import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, settings

from local_stack.paths import StackDirectory
from tests.support.containers import Announce
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
from tests.support.stack import (
    Overrides,
    StackFactory,
    SystemStack,
    own_stack_files,
    run_stack,
    stack_files,
)

# A busy machine, or a full collection of garbage, may hold up any example for as long as it likes:
# how long one takes says nothing of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests of one id: processes that share the tests would run one of them alone."""
    ids = Counter(item.nodeid for item in items)
    if repeated := [name for name, times in ids.items() if times > 1]:
        raise pytest.UsageError(f"several tests have the same id: {', '.join(repeated)}")


@pytest.fixture(scope="session")
async def run_directory() -> AsyncIterator[StackDirectory]:
    """Where this run's servers keep their data."""
    async with session_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def announce(pytestconfig: pytest.Config) -> Announce:
    """Shows a line at once, past the capture of what tests print."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            # Not by the terminal reporter: the processes that share a run's tests have none.
            sys.stderr.write(f"\n{line}\n")

    return show


@pytest.fixture(scope="session")
async def kafka(run_directory: StackDirectory, announce: Announce) -> AsyncIterator[Kafka]:
    """The broker of the environment or of a container engine, else a local one."""
    async with external_kafka(announce) as external:
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
async def postgres(run_directory: StackDirectory, announce: Announce) -> AsyncIterator[Postgres]:
    """The server of the environment or of a container engine, else a local one."""
    async with external_postgres(announce) as external:
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


@pytest.fixture
async def stack_factory(
    kafka: Kafka, postgres: Postgres, run_directory: StackDirectory
) -> AsyncIterator[StackFactory]:
    """Starts whole stacks, each with its own database, topics, ports, keys and files."""
    async with AsyncExitStack() as cleanup:

        async def start(
            *,
            overrides: Overrides | None = None,
            without: Collection[str] = (),
            own_servers: bool = False,
        ) -> SystemStack:
            name = secrets.token_hex(6)
            directory = StackDirectory(run_directory.root / f"stack-{name}")
            files = await cleanup.enter_async_context(
                own_stack_files(directory, f"{name}.")
                if own_servers
                else stack_files(directory, kafka, postgres, f"{name}.")
            )
            return await cleanup.enter_async_context(
                run_stack(files, overrides=overrides or {}, without=without)
            )

        yield start
