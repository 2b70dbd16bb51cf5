"""The four services as real processes, for tests of the whole: one stack per test."""

import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from local_stack.configuration import Addresses, generated_keys, service_environment
from local_stack.identity import ProcessIdentity
from local_stack.paths import StackDirectory
from local_stack.ports import LOOPBACK, Ports
from local_stack.services import SERVICES, Service
from local_stack.stack import ServiceGroup
from local_stack.supervisor import Supervisor
from tests.support.servers import (
    DatabaseUrls,
    Kafka,
    LocalKafka,
    LocalPostgres,
    Postgres,
    run_kafka,
    run_postgres,
)

Overrides = Mapping[str, Mapping[str, str]]
"""Environment variables by service name; those under `*` go to every service."""

EVERY_SERVICE: Final = "*"
TWO_OF_EACH: Final = tuple(
    process
    for service in SERVICES
    for process in (service, replace(service, name=f"{service.name}-2"))
)
"""Every service with a second process, which has the settings of the first: `gateway-2`."""
_INHERITED: Final = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class StackFiles:
    """What a stack is made of: its folder, servers, database and topic prefix."""

    directory: StackDirectory
    kafka: Kafka
    postgres: Postgres
    database: DatabaseUrls
    topic_prefix: str


class SystemStack:
    """A running stack. Service names are those of `local_stack.services`: `report-worker`."""

    def __init__(
        self,
        files: StackFiles,
        ports: Mapping[str, int],
        group: ServiceGroup,
        supervisor: Supervisor,
    ) -> None:
        self.files = files
        self._ports = ports
        self._group = group
        self._supervisor = supervisor

    @property
    def gateway_url(self) -> str:
        return self.url("gateway")

    @property
    def bootstrap_servers(self) -> str:
        return self.files.kafka.bootstrap_servers

    @property
    def topic_prefix(self) -> str:
        return self.files.topic_prefix

    @property
    def database(self) -> DatabaseUrls:
        return self.files.database

    @property
    def local_kafka(self) -> LocalKafka:
        """The broker of a stack with servers of its own, which a test may kill."""
        assert isinstance(self.files.kafka, LocalKafka)
        return self.files.kafka

    @property
    def local_postgres(self) -> LocalPostgres:
        """The database server of a stack with servers of its own, which a test may kill."""
        assert isinstance(self.files.postgres, LocalPostgres)
        return self.files.postgres

    @property
    def processes(self) -> dict[str, ProcessIdentity]:
        """The services that run now, by name."""
        return self._supervisor.identities

    @property
    def services(self) -> list[str]:
        """The services that there are, by name, be they between two lives now."""
        return list(self._ports)

    def url(self, service: str) -> str:
        """Where a service serves its probes and metrics, and the gateway its API."""
        return f"http://{LOOPBACK}:{self._ports[service]}"

    def log(self, service: str) -> str:
        """What a service has logged so far, all its lives."""
        path = self.files.directory.log(service)
        return path.read_text() if path.exists() else ""

    async def kill(self, service: str) -> None:
        """SIGKILL a service and its children; the supervisor starts it again."""
        await self._supervisor.kill(service)

    async def stop(self, service: str) -> None:
        """Stop a service with SIGTERM; it stays away until it is started."""
        await self._supervisor.stop(service)

    async def start(self, service: str) -> None:
        """Start a stopped service and wait until it is ready."""
        await self._group.start(service)

    async def wait_until_ready(self, service: str) -> None:
        """Wait until a service that was killed is ready again."""
        await self._group.wait_until_ready(service)

    async def wait_until_all_ready(self) -> None:
        """Wait until all services are ready, whatever they or their servers went through."""
        for service in self.services:
            await self.wait_until_ready(service)


class StackFactory(Protocol):
    """Starts stacks that end with the test."""

    async def __call__(
        self,
        *,
        overrides: Overrides | None = None,
        without: Collection[str] = (),
        own_servers: bool = False,
    ) -> SystemStack:
        """Start a stack and wait until it is ready.

        `without` leaves services stopped, `own_servers` gives the stack a Kafka and a PostgreSQL
        that no other test uses, so that they may be killed or put back in time.
        """


@asynccontextmanager
async def stack_files(
    directory: StackDirectory, kafka: Kafka, postgres: Postgres, topic_prefix: str
) -> AsyncIterator[StackFiles]:
    """Give a stack a database of its own on servers that are shared."""
    directory.artifacts.mkdir(parents=True)
    async with postgres.create_database() as database:
        yield StackFiles(directory, kafka, postgres, database, topic_prefix)


@asynccontextmanager
async def own_stack_files(
    directory: StackDirectory, topic_prefix: str
) -> AsyncIterator[StackFiles]:
    """Give a stack servers of its own."""
    async with (
        run_kafka(directory) as kafka,
        run_postgres(directory) as postgres,
        stack_files(directory, kafka, postgres, topic_prefix) as files,
    ):
        yield files


@asynccontextmanager
async def run_stack(
    files: StackFiles,
    *,
    overrides: Overrides,
    without: Collection[str],
    services: Sequence[Service] = SERVICES,
) -> AsyncIterator[SystemStack]:
    """Run the services on the given servers, and stop them after the body."""
    ports = Ports(files.directory.ports)
    chosen = {service.name: ports.choose(service.name) for service in services}
    async with AsyncExitStack() as cleanup:
        supervisor = Supervisor()
        cleanup.push_async_callback(supervisor.stop_all)
        group = ServiceGroup(
            directory=files.directory,
            addresses=_addresses(files),
            ports=chosen,
            environments={
                service.name: _environment(service, files, chosen, overrides)
                for service in services
            },
            supervisor=supervisor,
            services=services,
        )
        await group.prepare()
        await group.start_all(without=without)
        yield SystemStack(files, chosen, group, supervisor)


def _addresses(files: StackFiles) -> Addresses:
    database = files.database
    return Addresses(
        kafka=files.kafka.bootstrap_servers,
        database=database.admin,
        roles={
            "gateway": database.gateway,
            "report_worker": database.report_worker,
            "status_projector": database.status_projector,
            "notifier": database.notifier,
            "report_source": database.report_source,
        },
    )


def _environment(
    service: Service, files: StackFiles, ports: Mapping[str, int], overrides: Overrides
) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    own = overrides.get(service.module.replace("_", "-"), {})
    settings = {**overrides.get(EVERY_SERVICE, {}), **own}
    return service_environment(
        service,
        directory=files.directory,
        addresses=_addresses(files),
        ports=ports,
        keys=generated_keys(files.directory),
        caller={**inherited, "KAFKA_TOPIC_PREFIX": files.topic_prefix, **settings},
    )
