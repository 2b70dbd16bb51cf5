"""The whole stack, composed: servers, roles, topics, migrations, and the supervised services."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final

from aiokafka.errors import KafkaError
from pydantic import TypeAdapter, ValidationError

from local_stack.child import ProcessSpec
from local_stack.concurrently import concurrently
from local_stack.configuration import Addresses, generated_keys, service_environment
from local_stack.errors import SetupError
from local_stack.files import set_aside_when_large
from local_stack.identity import ProcessIdentity
from local_stack.paths import StackDirectory
from local_stack.ports import LOOPBACK, Ports, is_free
from local_stack.rates import NAME as RATES
from local_stack.rates import rates_spec
from local_stack.registry import end_leftovers, save_environment, save_processes
from local_stack.servers import start_servers
from local_stack.services import SERVICES, Service, migrate, process_spec, wait_until_ready
from local_stack.supervisor import Supervisor
from shared.bus.topics import ensure_topics
from shared.settings import KafkaSettings

DEFAULT_GATEWAY_PORT: Final = 8080
_HIGHEST_PORT: Final = 65535

_RETENTION: Final = TypeAdapter(timedelta)


class ServiceGroup:
    """The services of a stack, on servers that run already."""

    def __init__(
        self,
        *,
        directory: StackDirectory,
        addresses: Addresses,
        ports: Mapping[str, int],
        environments: Mapping[str, Mapping[str, str]],
        supervisor: Supervisor,
        services: Sequence[Service] = SERVICES,
    ) -> None:
        self._directory = directory
        self._addresses = addresses
        self._ports = ports
        self._environments = environments
        self._supervisor = supervisor
        self._services = {service.name: service for service in services}

    async def prepare(self) -> None:
        """Create the topics and bring the schemas up to date, each by one of its processes."""
        services = tuple({one.module: one for one in self._services.values()}.values())
        await concurrently(
            self._create_topics(), migrate(services, self._directory, self._environments)
        )

    async def start_all(self, *, without: Collection[str] = ()) -> None:
        """Start all services but those named, and return when all are ready."""
        names = [name for name in self._services if name not in without]
        for name in names:
            await self._supervisor.start(self._spec(name))
        await concurrently(*(self.wait_until_ready(name) for name in names))

    async def start(self, name: str) -> None:
        """Start one service and return when it is ready."""
        await self._supervisor.start(self._spec(name))
        await self.wait_until_ready(name)

    async def wait_until_ready(self, name: str) -> None:
        """Return when the service says that it is ready."""
        await wait_until_ready(
            self._services[name],
            self._ports[name],
            self._directory.log(name),
            lambda: self._supervisor.deaths(name),
        )

    def _spec(self, name: str) -> ProcessSpec:
        return process_spec(self._services[name], self._directory, self._environments[name])

    async def _create_topics(self) -> None:
        environment = self._environments[next(iter(self._services))]
        settings = KafkaSettings(
            bootstrap_servers=self._addresses.kafka,
            topic_prefix=environment.get("KAFKA_TOPIC_PREFIX", ""),
        )
        try:
            retention = _RETENTION.validate_python(environment["REPORT_RETENTION"])
            await ensure_topics(settings, retention)
        except ValidationError:
            raise SetupError("REPORT_RETENTION isn't an ISO 8601 duration such as P7D") from None
        except (KafkaError, OSError) as error:
            raise SetupError(f"the topics can't be created: {error}") from None


class Stack:
    """What `make up` runs: everything, with its addresses and process ids kept in a file.

    `report` is told in one line each what is being done.
    """

    def __init__(
        self, directory: StackDirectory, caller: Mapping[str, str], report: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._caller = caller
        self._report = report
        self._supervisor = Supervisor(changed=self._keep_track)
        self._addresses: dict[str, str] = {}

    async def start(self) -> None:
        """Start everything and return when all of it is ready.

        Raises:
            SetupError: where something can't be set up; what runs by then still has to be stopped.

        """
        await end_leftovers(self._directory.processes)
        self._tidy_logs()
        ports = self._choose_ports()
        addresses = await start_servers(
            self._directory, self._caller, self._supervisor, self._report
        )
        await self._supervisor.start(rates_spec(ports[RATES], self._directory, self._caller))
        services = self._services(addresses, ports)
        self._report("services: topics and migrations")
        await services.prepare()
        self._report("services: starting")
        await services.start_all()
        self._addresses = {
            "GATEWAY_URL": f"http://{LOOPBACK}:{ports['gateway']}",
            "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
            "DATABASE_URL": addresses.database,
        }
        self._keep_track(self._supervisor.identities)

    async def stop(self) -> None:
        """Stop everything: gateway first, then worker, notifier, projector, and the servers."""
        self._addresses = {}
        self._directory.environment.unlink(missing_ok=True)
        await self._supervisor.stop_all()
        self._directory.processes.unlink(missing_ok=True)

    def _tidy_logs(self) -> None:
        for log in self._directory.logs.glob("*.log"):
            set_aside_when_large(log)

    def _services(self, addresses: Addresses, ports: Mapping[str, int]) -> ServiceGroup:
        self._directory.artifacts.mkdir(parents=True, exist_ok=True)
        keys = generated_keys(self._directory)
        environments = {
            service.name: service_environment(
                service,
                directory=self._directory,
                addresses=addresses,
                ports=ports,
                keys=keys,
                caller=self._caller,
            )
            for service in SERVICES
        }
        return ServiceGroup(
            directory=self._directory,
            addresses=addresses,
            ports=ports,
            environments=environments,
            supervisor=self._supervisor,
        )

    def _choose_ports(self) -> dict[str, int]:
        """Take the ports that the caller asks for; the gateway's is 8080, others are any free."""
        ports = Ports(self._directory.ports)
        chosen = {}
        for service in SERVICES:
            default = str(DEFAULT_GATEWAY_PORT) if service.name == "gateway" else ""
            wanted = self._caller.get(service.setting("PORT")) or default
            chosen[service.name] = (
                requested_port(service.setting("PORT"), wanted)
                if wanted
                else ports.choose(service.name)
            )
        return chosen | {RATES: ports.choose(RATES)}

    def _keep_track(self, identities: Mapping[str, ProcessIdentity]) -> None:
        save_processes(self._directory.processes, identities)
        if self._addresses:
            save_environment(self._directory.environment, self._addresses, identities)


def requested_port(variable: str, text: str, is_free: Callable[[int], bool] = is_free) -> int:
    """Read a port that somebody asked for.

    Raises:
        SetupError: where it is no port or is taken.

    """
    if not text.isdecimal() or not 0 < int(text) <= _HIGHEST_PORT:
        raise SetupError(f"{variable}={text} isn't a port number")
    if not is_free(int(text)):
        raise SetupError(
            f"port {text} is taken by another program: stop it, or set {variable} to another port"
        )
    return int(text)
