"""A real Kafka broker and a real PostgreSQL server for tests, wherever they come from."""

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import asyncpg

from local_stack.accounts import remove_server_home
from local_stack.bootstrap import bootstrap, with_database
from local_stack.child import ChildProcess
from local_stack.files import locked, try_lock
from local_stack.identity import send_signal
from local_stack.kafka import KafkaServer, prepare_kafka, wait_for_broker
from local_stack.paths import LOCAL, StackDirectory
from local_stack.ports import Ports
from local_stack.postgres import PostgresServer, prepare_postgres, wait_for_database
from shared.settings import DatabaseSettings
from tests.support.containers import Announce, kafka_container, postgres_container

SESSIONS: Final = LOCAL / "tests"
"""One folder per test run, deleted at its end, or by a later run where it was killed."""

_EXTERNAL_SECONDS: Final = 20.0
_PATIENCE: Final = 60.0
_LOCK_SECONDS: Final = 120.0


class Kafka(Protocol):
    """A broker that this test run may use."""

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""


@dataclass(frozen=True, slots=True)
class ExternalKafka:
    """A broker that somebody else runs: a container engine or whoever set the environment."""

    bootstrap_servers: str


class _LocalServer:
    """The life of a server of our own. It keeps its address and data through all of it."""

    def __init__(self, server: KafkaServer | PostgresServer) -> None:
        self._server = server
        self._process: ChildProcess | None = None

    async def start(self) -> None:
        """Start, and return when the server is ready, crash recovery included."""
        self._process = await ChildProcess.start(self._server.spec)
        await self._server.wait_until_ready()

    async def stop(self) -> None:
        """Shut down cleanly."""
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def kill(self) -> None:
        """Crash: SIGKILL for the server and all its processes."""
        if self._process is not None:
            await self._process.kill()
            self._process = None

    async def restart(self) -> None:
        """Shut down cleanly and start again."""
        await self.stop()
        await self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold the process still while the body runs: connections stay open, nothing answers."""
        assert self._process is not None
        identity = self._process.identity
        send_signal(identity, signal.SIGSTOP)
        try:
            yield
        finally:
            send_signal(identity, signal.SIGCONT)


class LocalKafka(_LocalServer):
    """A broker of our own, which a test may kill."""

    _server: KafkaServer

    @property
    def bootstrap_servers(self) -> str:
        return self._server.bootstrap_servers


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """A fresh database with roles and schemas: its connection URLs."""

    name: str
    admin: str
    gateway: str
    report_worker: str
    status_projector: str
    notifier: str
    report_source: str


def patient_settings(url: str, **changes: int) -> DatabaseSettings:
    """Return settings under which a slow database isn't taken for one that is away."""
    patience = {"database_connect_timeout": _PATIENCE, "database_command_timeout": _PATIENCE}
    return DatabaseSettings.model_validate({"database_url": url, **patience, **changes})


class Postgres:
    """A server that this test run may use."""

    def __init__(self, admin_dsn: str) -> None:
        self.admin_dsn = admin_dsn

    @asynccontextmanager
    async def create_database(self) -> AsyncIterator[DatabaseUrls]:
        """Make a database with roles and schemas, dropped after the body."""
        name = f"test_{secrets.token_hex(6)}"
        secret = urlsplit(self.admin_dsn).password or ""
        try:
            urls = await bootstrap(self.admin_dsn, name, secret=secret)
            yield DatabaseUrls(name=name, admin=with_database(self.admin_dsn, name), **urls)
        finally:
            await self._drop(name)

    async def _drop(self, name: str) -> None:
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await connection.close()


class LocalPostgres(Postgres, _LocalServer):
    """A server of our own, which a test may kill or put back to an earlier copy of its data."""

    _server: PostgresServer

    def __init__(self, server: PostgresServer) -> None:
        Postgres.__init__(self, server.admin_dsn)
        _LocalServer.__init__(self, server)

    async def save_copy(self) -> Path:
        """Crash, copy the data folder, start again; return the copy."""
        copy = self._server.data.with_name(f"copy-{secrets.token_hex(4)}")
        await self._crash_for_good()
        await asyncio.to_thread(_copy_tree, self._server.data, copy)
        await self.start()
        return copy

    async def put_back(self, copy: Path) -> None:
        """Crash and start again on an earlier copy: all that was committed since is gone."""
        await self._crash_for_good()
        await asyncio.to_thread(shutil.rmtree, self._server.data)
        await asyncio.to_thread(_copy_tree, copy, self._server.data)
        await self.start()

    async def _crash_for_good(self) -> None:
        """Crash, and return when those processes are gone too that notice it by themselves.

        They may still write to the data folder, each has a session of its own.
        """
        await self.kill()
        await self._server.spec.before_start()


@asynccontextmanager
async def session_directory() -> AsyncIterator[StackDirectory]:
    """Make a folder for this test run, and remove those of runs that were killed."""
    directory = StackDirectory(SESSIONS / f"{os.getpid()}-{secrets.token_hex(3)}")
    # One after the other: a folder that nobody has locked yet looks abandoned to those that share
    # this run's tests and begin in the same moment, and so does one that another removes.
    async with _alone():
        for abandoned in SESSIONS.glob("*"):
            _remove_if_abandoned(StackDirectory(abandoned))
        lock = try_lock(directory.lock)
    assert lock is not None
    with lock:
        yield directory
        async with _alone():
            _remove(directory)


@asynccontextmanager
async def run_kafka(directory: StackDirectory) -> AsyncIterator[LocalKafka]:
    """Run a broker whose data lie in `directory`."""
    kafka = LocalKafka(
        await prepare_kafka(directory, StackDirectory(LOCAL), Ports(directory.ports))
    )
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.stop()


@asynccontextmanager
async def run_postgres(directory: StackDirectory) -> AsyncIterator[LocalPostgres]:
    """Run a PostgreSQL server whose data lie in `directory`."""
    postgres = LocalPostgres(await prepare_postgres(directory, Ports(directory.ports)))
    try:
        await postgres.start()
        yield postgres
    finally:
        await postgres.stop()
        remove_server_home(directory.postgres)


@asynccontextmanager
async def external_kafka(announce: Announce) -> AsyncIterator[Kafka | None]:
    """Give the broker of the environment, or of a container engine; None where there is neither."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        await wait_for_broker(servers, seconds=_EXTERNAL_SECONDS)
        yield ExternalKafka(servers)
        return
    async with kafka_container(announce) as address:
        yield ExternalKafka(address) if address is not None else None


@asynccontextmanager
async def external_postgres(announce: Announce) -> AsyncIterator[Postgres | None]:
    """Give the server of the environment, or of a container engine; None where there is neither."""
    if admin_dsn := os.environ.get("DATABASE_URL"):
        await wait_for_database(admin_dsn, seconds=_EXTERNAL_SECONDS)
        yield Postgres(admin_dsn)
        return
    async with postgres_container(announce) as address:
        yield Postgres(address) if address is not None else None


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a data folder with its owner, whom PostgreSQL checks."""
    shutil.copytree(source, target, symlinks=True)
    for original in (source, *source.rglob("*")):
        owner = original.lstat()
        os.chown(target / original.relative_to(source), owner.st_uid, owner.st_gid)


def _alone() -> AbstractAsyncContextManager[None]:
    """Keep all others from making or removing folders of test runs."""
    return locked(SESSIONS.with_suffix(".lock"), seconds=_LOCK_SECONDS)


def _remove_if_abandoned(directory: StackDirectory) -> None:
    lock = try_lock(directory.lock)
    if lock is not None:
        with lock:
            _remove(directory)


def _remove(directory: StackDirectory) -> None:
    remove_server_home(directory.postgres)
    shutil.rmtree(directory.root)
