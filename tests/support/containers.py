"""The servers as containers, for machines with a container engine."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import docker  # type: ignore[import-untyped]
from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer

from local_stack.kafka import node_properties
from local_stack.ports import LOOPBACK, free_ports
from local_stack.postgres import ADMIN, dsn

KAFKA_IMAGE: Final = "apache/kafka:4.2.0"
POSTGRES_IMAGE: Final = "postgres:18"

_ENGINE_SECONDS: Final = 2
_ENGINE: Final = "unix:///var/run/docker.sock"
_KAFKA_DATA: Final = Path("/var/lib/kafka/data")
_KAFKA_PORT, _CONTROLLER_PORT, _POSTGRES_PORT = 9092, 9093, 5432


@cache
def engine_answers() -> bool:
    """Tell whether a container engine answers; one that is installed but stopped doesn't."""
    if not _socket_listens():
        return False
    try:
        client = docker.from_env(timeout=_ENGINE_SECONDS)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except DockerException:
        return False


@contextmanager
def kafka_container() -> Iterator[str | None]:
    """Run a broker; give its address, or None where no engine answers."""
    if not engine_answers():
        yield None
        return
    port = next(free_ports())
    properties = node_properties(_KAFKA_DATA, _KAFKA_PORT, _CONTROLLER_PORT) | {
        "listeners": f"PLAINTEXT://:{_KAFKA_PORT},CONTROLLER://:{_CONTROLLER_PORT}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
    }
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(_KAFKA_PORT, port)
    for name, value in properties.items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    with container:
        yield f"{LOOPBACK}:{port}"


@contextmanager
def postgres_container() -> Iterator[str | None]:
    """Run a PostgreSQL server; give its administrator's URL, or None where no engine answers."""
    if not engine_answers():
        yield None
        return
    password = secrets.token_urlsafe(24)
    container = (
        DockerContainer(POSTGRES_IMAGE)
        .with_env("POSTGRES_PASSWORD", password)
        .with_exposed_ports(_POSTGRES_PORT)
    )
    with container:
        yield dsn(
            user=ADMIN,
            password=password,
            host=container.get_container_host_ip(),
            port=container.get_exposed_port(_POSTGRES_PORT),
            database="postgres",
        )


def _socket_listens() -> bool:
    """Look before the client does, which leaks its socket where nobody listens."""
    engine = urlsplit(os.environ.get("DOCKER_HOST", _ENGINE))
    if engine.scheme != "unix":
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ENGINE_SECONDS)
        return probe.connect_ex(engine.path) == 0
