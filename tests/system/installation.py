"""A whole installation for a module of tests: services, data, a client and a webhook receiver."""

import json
import secrets
import socket
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from local_stack.configuration import generated_keys
from local_stack.paths import StackDirectory
from local_stack.ports import LOOPBACK
from local_stack.services import SERVICES, Service
from local_stack.source_data import generate
from shared.keyring import KeyRing
from tests.support.client import ReportsClient, reports_client
from tests.support.receiver import Receiver, run_receiver
from tests.support.servers import LocalKafka, LocalPostgres
from tests.support.stack import EVERY_SERVICE, StackFiles, SystemStack, run_stack, stack_files
from tests.system.catalogue import AWAY, SOURCE, write_catalogues

ORDERS: Final = 3_000
TENANT: Final = "default"
SOURCE_PASSWORD: Final = "password-of-the-source"

MAX_FAILURES: Final = 3
DELIVERY_ATTEMPTS: Final = 3

Settings = Mapping[str, str]
_NONE: Final[Settings] = {}
_IMPATIENT_WORKER: Final = {
    "REPORT_WORKER_MAX_FAILURES": str(MAX_FAILURES),
    "REPORT_WORKER_RETRY_FIRST": "0.05",
    "REPORT_WORKER_RETRY_LONGEST": "0.1",
}
_IMPATIENT_NOTIFIER: Final = {
    "NOTIFIER_RETRY_DELAYS": f"[0{', 0.05' * (DELIVERY_ATTEMPTS - 1)}]",
    "NOTIFIER_TOTAL_TIMEOUT": "5",
}


@dataclass(frozen=True)
class Keys:
    """The installation's generated keys, to make ids and links as it would itself."""

    variables: Mapping[str, str]

    @cached_property
    def job_ids(self) -> KeyRing:
        return KeyRing.parse(self.variables["JOB_ID_KEYS"])

    @cached_property
    def links(self) -> KeyRing:
        return KeyRing.parse(self.variables["LINK_KEYS"])

    @property
    def signing_secret(self) -> str:
        return self.variables["NOTIFIER_SIGNING_SECRETS"]

    @property
    def secrets(self) -> list[str]:
        """The keys alone, without their numbers."""
        return [value.rpartition(":")[2] for value in self.variables.values()]


@dataclass(frozen=True, slots=True)
class Servers:
    """A broker and a database server that tests may kill, and where their files may lie."""

    directory: StackDirectory
    kafka: LocalKafka
    postgres: LocalPostgres


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything that runs."""

    stack: SystemStack
    servers: Servers
    client: ReportsClient
    receiver: Receiver
    keys: Keys


@asynccontextmanager
async def run_installation(
    servers: Servers,
    *,
    worker: Settings = _NONE,
    notifier: Settings = _NONE,
    services: Sequence[Service] = SERVICES,
    report_types: Collection[Mapping[str, Any]] = (),
) -> AsyncIterator[Installation]:
    """Run the services with the tests' catalogue and generated orders.

    They give up sooner than the shipped defaults would; `worker` and `notifier` are further
    settings of these services, `report_types` more types for the catalogue.
    """
    name = secrets.token_hex(6)
    directory = StackDirectory(servers.directory.root / f"stack-{name}")
    async with stack_files(directory, servers.kafka, servers.postgres, f"{name}.") as files:
        await generate(files.database.admin, orders=ORDERS)
        keys = Keys(generated_keys(directory))
        with _port_without_listener() as dead_port:
            catalogues = write_catalogues(directory.root, report_types)
            overrides = _overrides(files, catalogues, dead_port, worker=worker, notifier=notifier)
            async with (
                run_receiver(keys.signing_secret) as receiver,
                run_stack(files, overrides=overrides, without=(), services=services) as stack,
                reports_client(stack.gateway_url) as client,
            ):
                yield Installation(stack, servers, client, receiver, keys)


def _overrides(
    files: StackFiles,
    catalogues: Mapping[str, Path],
    dead_port: int,
    *,
    worker: Settings,
    notifier: Settings,
) -> Mapping[str, Settings]:
    sources = {
        SOURCE: files.database.report_source,
        AWAY: f"postgresql://reader:{SOURCE_PASSWORD}@{LOOPBACK}:{dead_port}/away",
    }
    return {
        EVERY_SERVICE: {"CATALOGUE_DIR": str(catalogues["gateway"])},
        "report-worker": {
            "CATALOGUE_DIR": str(catalogues["report-worker"]),
            "REPORT_WORKER_SOURCES": json.dumps(sources),
            **_IMPATIENT_WORKER,
            **worker,
        },
        "notifier": {**_IMPATIENT_NOTIFIER, **notifier},
    }


@contextmanager
def _port_without_listener() -> Iterator[int]:
    """Hold a port that refuses connections and that nobody else can be given."""
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]
