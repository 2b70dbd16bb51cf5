"""Real servers for whole stacks, and one installation for the tests that leave it as it was."""

from collections.abc import AsyncIterator

import pytest

from local_stack.paths import StackDirectory
from tests.support.servers import LocalKafka, LocalPostgres
from tests.system.installation import Installation, Servers, run_installation


@pytest.fixture(scope="session")
def servers(
    run_directory: StackDirectory, local_kafka: LocalKafka, local_postgres: LocalPostgres
) -> Servers:
    """Servers of the session's own: a test may kill them, and starts them again."""
    return Servers(run_directory, local_kafka, local_postgres)


@pytest.fixture(scope="session")
async def shared_installation(servers: Servers) -> AsyncIterator[Installation]:
    """One installation for many tests, because a start costs seconds.

    Its webhooks have as long as the shipped defaults give them: most tests count attempts.
    """
    async with run_installation(servers, notifier={"NOTIFIER_TOTAL_TIMEOUT": "15"}) as running:
        yield running


@pytest.fixture
async def installation(shared_installation: Installation) -> Installation:
    """The shared installation, once it has got over what other tests did to its servers."""
    await shared_installation.stack.wait_until_all_ready()
    return shared_installation
