"""PostgreSQL from the binaries of a wheel: on a loopback port, durable, as an unprivileged user."""

import os
import secrets
import shutil
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from local_stack.accounts import binaries, server_account, server_home
from local_stack.child import Account, ProcessSpec, describe_log, run_to_end
from local_stack.errors import SetupError
from local_stack.files import read_or_create
from local_stack.identity import working_in
from local_stack.paths import StackDirectory
from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK, Ports

ADMIN: Final = "postgres"
READY_SECONDS: Final = 180.0

_POLL_SECONDS: Final = 0.02
_CONNECT_SECONDS: Final = 10.0
_INITDB_SECONDS: Final = 120.0
_REMNANT_SECONDS: Final = 60.0
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "300",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """An initialised server, ready to be started any number of times on its data and port."""

    spec: ProcessSpec
    data: Path
    admin_dsn: str

    async def wait_until_ready(self, *, seconds: float = READY_SECONDS) -> None:
        """Return when the server takes a connection, crash recovery included.

        Raises:
            SetupError: where it doesn't within `seconds`, with the end of its log.

        """
        try:
            await wait_for_database(self.admin_dsn, seconds=seconds)
        except TimeoutError:
            raise SetupError(
                f"PostgreSQL wasn't ready within {seconds:.0f} s; {describe_log(self.spec.log)}"
            ) from None


def dsn(*, user: str, password: str, port: int, database: str, host: str = LOOPBACK) -> str:
    """Return a connection URL."""
    return f"postgresql://{quote(user)}:{quote(password, safe='')}@{host}:{port}/{quote(database)}"


async def prepare_postgres(directory: StackDirectory, ports: Ports) -> PostgresServer:
    """Return a server whose data lie in `directory`, initialised when there are none yet.

    Raises:
        SetupError: where the binaries or an account to run as can't be had, or initdb fails.

    """
    account = server_account()
    programs = binaries(account)
    home = server_home(directory.postgres, account)
    password = read_or_create(directory.root / "postgres-password", _new_password)
    log = directory.log("postgres")
    await _initialise(programs, home, account, password, log)
    port = ports.choose("postgres")
    return PostgresServer(
        spec=_spec(programs, home / "data", port, account, log),
        data=home / "data",
        admin_dsn=dsn(user=ADMIN, password=password, port=port, database="postgres"),
    )


async def wait_for_database(admin_dsn: str, *, seconds: float) -> None:
    """Return when a connection can be made.

    Raises:
        TimeoutError: where none can within `seconds`.
        asyncpg.PostgresError: where the server refuses the credentials or the database.

    """
    await poll_until(partial(_answers, admin_dsn), seconds=seconds, interval=_POLL_SECONDS)


async def _answers(admin_dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(admin_dsn, timeout=_CONNECT_SECONDS)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
        return False
    await connection.close()
    return True


async def _initialise(
    programs: Path, home: Path, account: Account | None, password: str, log: Path
) -> None:
    """Make the data folder; it has its name only once it is whole."""
    data, unfinished = home / "data", home / "data.unfinished"
    if data.is_dir():
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    password_file = _private_file(home / "initial-password", password, account)
    options = ("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
    access = ("--auth=scram-sha-256", f"--username={ADMIN}", f"--pwfile={password_file}")
    initdb = (str(programs / "initdb"), f"--pgdata={unfinished}", *options, *access)
    spec = ProcessSpec(
        name="initdb", command=initdb, log=log, account=account, environment=_environment()
    )
    try:
        await run_to_end(spec, seconds=_INITDB_SECONDS)
    finally:
        password_file.unlink()
    unfinished.rename(data)


def _spec(programs: Path, data: Path, port: int, account: Account | None, log: Path) -> ProcessSpec:
    settings = (f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items())

    async def clear() -> None:
        await _clear_remnants(data)

    return ProcessSpec(
        name="postgres",
        command=(str(programs / "postgres"), "-D", str(data), *settings),
        log=log,
        account=account,
        environment=_environment(),
        stop_signal=signal.SIGINT,  # fast shutdown: end the sessions, then write a checkpoint
        orphan_signal=signal.SIGQUIT,  # immediate shutdown: take the server processes along
        before_start=clear,
    )


async def _clear_remnants(data: Path) -> None:
    """Make way for a start after a crash.

    The processes of a killed server notice within moments and leave; until then they hold its
    shared memory. Once nobody works in the data folder, a `postmaster.pid` there is stale, even
    if its pid has been given to another process, which would make the server refuse to start.
    """

    async def nobody_works_there() -> bool:
        return not working_in(data)

    try:
        await poll_until(nobody_works_there, seconds=_REMNANT_SECONDS)
    except TimeoutError:
        raise SetupError(f"another PostgreSQL server works in {data}") from None
    (data / "postmaster.pid").unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """Return our environment without the variables that would steer the server's programs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _private_file(path: Path, text: str, account: Account | None) -> Path:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    return path


def _new_password() -> str:
    return secrets.token_urlsafe(24)
