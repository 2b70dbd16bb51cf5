"""The servers as containers, for machines with a container engine."""

import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from docker.errors import (  # type: ignore[import-untyped]
    APIError,
    DockerException,
    ImageNotFound,
)
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient, get_docker_host

from local_stack.errors import SetupError
from local_stack.identity import ProcessIdentity, identify, is_alive
from local_stack.kafka import node_properties, wait_for_broker
from local_stack.ports import LOOPBACK, free_ports
from local_stack.postgres import ADMIN, dsn, wait_for_database

KAFKA_IMAGE: Final = "apache/kafka:4.2.0"
POSTGRES_IMAGE: Final = "postgres:18"

_ENGINE: Final = "unix:///var/run/docker.sock"
_ENGINE_SECONDS: Final = 20
_READY_SECONDS: Final = 60.0
_LOG_LINES: Final = 15
_HOST_LABEL, _PROCESS_LABEL = "report-jobs.tests.host", "report-jobs.tests.process"
_KAFKA_DATA: Final = Path("/var/lib/kafka/data")
_CONTROLLER_PORT, _POSTGRES_PORT = 9093, 5432

# The reaper would be a third image to pull; _remove_abandoned does its work.
testcontainers_config.ryuk_disabled = True

Announce = Callable[[str], None]
"""Shows a line to the person at the terminal."""


class _WaitForServer(Protocol):
    async def __call__(self, address: str, /, *, seconds: float) -> None:
        """Return when the server is ready; raise TimeoutError where it isn't within `seconds`."""


@asynccontextmanager
async def kafka_container(announce: Announce) -> AsyncIterator[str | None]:
    """Run a broker; give its address, or None where no engine has its image."""
    if not _is_available(KAFKA_IMAGE, announce):
        yield None
        return
    port = next(free_ports())
    container = _container(KAFKA_IMAGE, port, port).with_envs(**kafka_environment(port))
    async with _running(container, wait_for_broker, f"{LOOPBACK}:{port}") as address:
        yield address


@asynccontextmanager
async def postgres_container(announce: Announce) -> AsyncIterator[str | None]:
    """Run a PostgreSQL server; give its administrator's URL, or None as above.

    It has the locale and the room for connections that the local server has.
    """
    if not _is_available(POSTGRES_IMAGE, announce):
        yield None
        return
    password, port = secrets.token_urlsafe(24), next(free_ports())
    container = (
        _container(POSTGRES_IMAGE, _POSTGRES_PORT, port)
        .with_env("POSTGRES_PASSWORD", password)
        .with_env("POSTGRES_INITDB_ARGS", "--locale-provider=builtin --locale=C.UTF-8")
        .with_command(["-c", "max_connections=300"])
    )
    url = dsn(user=ADMIN, password=password, port=port, database="postgres")
    async with _running(container, wait_for_database, url) as address:
        yield address


def kafka_environment(port: int) -> dict[str, str]:
    """Return the configuration of a broker in a container, in the names its image reads.

    The broker has one port inside and outside, so that the address it gives to clients also
    serves its connections to itself.
    """
    listeners = f"PLAINTEXT://:{port},CONTROLLER://{LOOPBACK}:{_CONTROLLER_PORT}"
    properties = node_properties(_KAFKA_DATA, port, _CONTROLLER_PORT) | {"listeners": listeners}
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in properties.items()}


def _is_available(image: str, announce: Announce) -> bool:
    """Tell whether an engine answers and has the image, which is pulled where it hasn't.

    Without an engine the local servers are what everybody expects. Where there is one that can't
    get the image (no network, a registry's limit), the person learns why it isn't used.
    """
    if not _engine_answers():
        return False
    try:
        with _engine() as engine:
            _get(image, engine, announce)
    except (DockerException, OSError) as error:
        reason = " ".join(str(getattr(error, "explanation", None) or error).split())
        announce(f"can't get {image}, so the tests use a local server instead: {reason}")
        return False
    return True


def _get(image: str, engine: Any, announce: Announce) -> None:
    try:
        engine.images.get(image)
    except ImageNotFound:
        announce(f"pulling {image} ...")
        engine.images.pull(image)


@cache
def _engine_answers() -> bool:
    """Tell whether an engine of this machine answers; one that is installed but stopped doesn't."""
    if not _socket_listens():
        return False
    try:
        with _engine() as engine:
            return bool(engine.ping())
    except DockerException:
        return False


def _socket_listens() -> bool:
    """Look before the client does, which leaks its socket where nobody listens.

    An engine behind a network address publishes its ports elsewhere than on our loopback.
    """
    engine = urlsplit(get_docker_host() or _ENGINE)
    if engine.scheme != "unix":
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ENGINE_SECONDS)
        return probe.connect_ex(engine.path) == 0


@contextmanager
def _engine() -> Iterator[Any]:
    client = DockerClient(timeout=_ENGINE_SECONDS).client
    try:
        yield client
    finally:
        client.close()


def _container(image: str, port: int, published_port: int) -> DockerContainer:
    """Describe a container that can be reached from this machine alone."""
    process = identify(os.getpid())
    assert process is not None
    labels = {_HOST_LABEL: socket.gethostname(), _PROCESS_LABEL: json.dumps(asdict(process))}
    container = DockerContainer(image).with_kwargs(labels=labels)
    # The annotation knows ports of all interfaces only; the client takes an address too.
    container.ports[str(port)] = (LOOPBACK, published_port)  # type: ignore[assignment]
    return container


@asynccontextmanager
async def _running(
    container: DockerContainer, wait: _WaitForServer, address: str
) -> AsyncIterator[str]:
    """Run a container and give its server's address once the server is ready.

    Raises:
        SetupError: where it isn't in time, with the end of the container's log.

    """
    with _engine() as engine:
        _remove_abandoned(engine)
    with container:
        try:
            await wait(address, seconds=_READY_SECONDS)
        except TimeoutError:
            raise SetupError(
                f"{container.image} wasn't ready within {_READY_SECONDS:.0f} s; "
                f"the end of its log:\n{_last_lines(container)}"
            ) from None
        yield address


def _remove_abandoned(engine: Any) -> None:
    """Remove the containers of test runs that were killed."""
    ours = {"label": f"{_HOST_LABEL}={socket.gethostname()}"}
    for container in engine.containers.list(all=True, filters=ours, ignore_removed=True):
        if not is_alive(ProcessIdentity(**json.loads(container.labels[_PROCESS_LABEL]))):
            with suppress(APIError):  # another run removes it as well
                container.remove(force=True, v=True)


def _last_lines(container: DockerContainer) -> str:
    log = b"".join(container.get_logs()).decode(errors="replace")
    return "\n".join(log.splitlines()[-_LOG_LINES:])
