"""Kafka and PostgreSQL of a stack: those of the environment, else local ones."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from local_stack.bootstrap import ROLES, bootstrap, with_database
from local_stack.concurrently import concurrently
from local_stack.configuration import Addresses
from local_stack.errors import SetupError
from local_stack.files import read_or_create
from local_stack.kafka import prepare_kafka, wait_for_broker
from local_stack.paths import LOCAL, StackDirectory
from local_stack.ports import LOOPBACK, Ports
from local_stack.postgres import prepare_postgres, wait_for_database
from local_stack.source_data import create_tables
from local_stack.supervisor import Supervisor

KAFKA_VARIABLE: Final = "KAFKA_BOOTSTRAP_SERVERS"
DATABASE_VARIABLE: Final = "DATABASE_URL"
DATABASE: Final = "report_jobs"

_EXTERNAL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class External:
    """Servers that the caller names in the environment; None where the stack starts its own."""

    kafka: str | None
    database: str | None


def external_servers(caller: Mapping[str, str], ports: Ports) -> External:
    """Return the servers that the caller names.

    A shell that sourced `stack.env` names the stack's own servers; those are started as ever.
    """
    kafka = caller.get(KAFKA_VARIABLE) or None
    database = caller.get(DATABASE_VARIABLE) or None
    is_own_kafka = kafka is not None and kafka == f"{LOOPBACK}:{ports.known('kafka')}"
    is_own_database = database is not None and _is_at(database, ports.known("postgres"))
    return External(
        kafka=None if is_own_kafka else kafka, database=None if is_own_database else database
    )


async def start_servers(
    directory: StackDirectory,
    caller: Mapping[str, str],
    supervisor: Supervisor,
    report: Callable[[str], None],
) -> Addresses:
    """Start what the caller doesn't bring, make roles, schemas and source tables; return addresses.

    Raises:
        SetupError: where a server can't be set up, or one that the caller named doesn't answer.

    """
    ports = Ports(directory.ports)
    external = external_servers(caller, ports)
    kafka, database, roles = "", "", dict.fromkeys(ROLES, "")

    async def provide_kafka() -> None:
        nonlocal kafka
        if external.kafka is None:
            kafka = await _start_kafka(directory, ports, supervisor, report)
        else:
            kafka = await _reach_kafka(external.kafka)

    async def provide_database() -> None:
        nonlocal database, roles
        if external.database is None:
            database = await _start_postgres(directory, ports, supervisor, report)
        else:
            database = await _reach_database(external.database)
        roles = await _bootstrap(directory, database)
        await create_tables(database)

    await concurrently(provide_kafka(), provide_database())
    return Addresses(kafka=kafka, database=database, roles=roles)


async def _start_kafka(
    directory: StackDirectory, ports: Ports, supervisor: Supervisor, report: Callable[[str], None]
) -> str:
    report("Apache Kafka: setting up (the first time fetches it)")
    server = await prepare_kafka(directory, StackDirectory(LOCAL), ports)
    await supervisor.start(server.spec)
    await server.wait_until_ready()
    report(f"Apache Kafka: ready on {server.bootstrap_servers}")
    return server.bootstrap_servers


async def _start_postgres(
    directory: StackDirectory, ports: Ports, supervisor: Supervisor, report: Callable[[str], None]
) -> str:
    report("PostgreSQL: setting up")
    server = await prepare_postgres(directory, ports)
    await supervisor.start(server.spec)
    await server.wait_until_ready()
    report(f"PostgreSQL: ready on {LOOPBACK}:{ports.known('postgres')}")
    return with_database(server.admin_dsn, DATABASE)


async def _reach_kafka(servers: str) -> str:
    try:
        await wait_for_broker(servers, seconds=_EXTERNAL_SECONDS)
    except TimeoutError:
        raise SetupError(f"no Kafka broker answers at {KAFKA_VARIABLE}={servers}") from None
    return servers


async def _reach_database(url: str) -> str:
    place = f"{DATABASE_VARIABLE} ({urlsplit(url).hostname}:{urlsplit(url).port or 5432})"
    try:
        await wait_for_database(url, seconds=_EXTERNAL_SECONDS)
    except TimeoutError:
        raise SetupError(f"no PostgreSQL server answers at {place}") from None
    except (asyncpg.PostgresError, ValueError) as error:
        raise SetupError(f"PostgreSQL at {place} refuses: {error}") from None
    return url


async def _bootstrap(directory: StackDirectory, database: str) -> dict[str, str]:
    parts = urlsplit(database)
    secret = parts.password or read_or_create(directory.root / "role-secret", _new_secret)
    try:
        return await bootstrap(_administration(database), parts.path.lstrip("/"), secret=secret)
    except (asyncpg.PostgresError, OSError) as error:
        raise SetupError(f"roles and schemas can't be made in PostgreSQL: {error}") from None


def _administration(database: str) -> str:
    """Return the URL from which the stack's database can be created."""
    return with_database(database, "postgres")


def _is_at(url: str, port: int | None) -> bool:
    parts = urlsplit(url)
    return (parts.hostname, parts.port) == (LOOPBACK, port)


def _new_secret() -> str:
    return secrets.token_urlsafe(32)
