"""`make up` and `make down` as a shell runs them: real servers, stand-ins for the services."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_stack.accounts import remove_server_home
from local_stack.identity import ProcessIdentity, is_alive
from local_stack.kafka import prepare_runtime
from local_stack.paths import LOCAL, StackDirectory
from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK, free_ports
from local_stack.registry import load_processes, read_environment
from local_stack.services import SERVICES, answers_ready
from tests.support.servers import DatabaseUrls, LocalKafka

_SECONDS = 300.0

_STAND_IN = """
import http.server, os, signal, sys
name = {name!r}
if sys.argv[1] == "migrate":
    sys.exit({migrate_status})
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

class Probe(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(os.environ[name + "_PORT"])), Probe).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Shell:
    """A checkout's folder, with stand-ins for the services first on Python's path."""

    directory: StackDirectory
    stand_ins: Path
    gateway_port: int

    def write_stand_in(self, module: str, *, migrate_status: int = 0) -> None:
        program = _STAND_IN.format(name=module.upper(), migrate_status=migrate_status)
        (self.stand_ins / f"{module}.py").write_text(program)

    async def begin(self, *command: str, **variables: str) -> Process:
        directory = ("--directory", str(self.directory.root))
        return await self.begin_python("-m", "local_stack", *directory, *command, **variables)

    async def begin_python(self, *arguments: str, **variables: str) -> Process:
        keep_out = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
        inherited = {name: value for name, value in os.environ.items() if name not in keep_out}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", *arguments),
            stdout=PIPE,
            stderr=STDOUT,
            env={
                **inherited,
                "PYTHONPATH": str(self.stand_ins),
                "GATEWAY_PORT": str(self.gateway_port),
                **variables,
            },
        )

    async def run(self, *command: str, **variables: str) -> tuple[int | None, str]:
        process = await self.begin(*command, **variables)
        output, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
        return process.returncode, output.decode()

    @property
    def processes(self) -> dict[str, ProcessIdentity]:
        return load_processes(self.directory.processes)

    @property
    def supervisor(self) -> ProcessIdentity:
        return load_processes(self.directory.supervisor)["supervisor"]

    def environment(self) -> dict[str, str]:
        return read_environment(self.directory.environment)

    async def until_gone(self, *identities: ProcessIdentity) -> None:
        async def are_gone() -> bool:
            return not any(map(is_alive, identities))

        await poll_until(are_gone, seconds=_SECONDS)


@pytest.fixture
async def shell(run_directory: StackDirectory, tmp_path: Path) -> AsyncIterator[Shell]:
    await prepare_runtime(StackDirectory(LOCAL))
    root = run_directory.root / f"shell-{tmp_path.name}"
    shell = Shell(StackDirectory(root), tmp_path, next(free_ports()))
    for service in SERVICES:
        shell.write_stand_in(service.module)
    try:
        yield shell
    finally:
        await shell.run("down")
        remove_server_home(shell.directory.postgres)


async def test_up_returns_when_ready_and_down_leaves_nothing(shell: Shell) -> None:
    status, output = await shell.run("up")

    assert status == 0, output
    processes = shell.processes
    assert set(processes) == {"kafka", "postgres", "rates", *(service.name for service in SERVICES)}
    environment = shell.environment()
    assert environment["GATEWAY_URL"] == f"http://127.0.0.1:{shell.gateway_port}"
    assert environment["REPORT_WORKER_PID"] == str(processes["report-worker"].pid)
    assert answers_ready(shell.gateway_port)

    status, output = await shell.run("down")

    assert (status, output) == (0, "stopped\n")
    assert not any(map(is_alive, processes.values()))
    assert shell.environment() == {}


async def test_second_up_says_so_and_breaks_nothing(shell: Shell) -> None:
    await shell.run("up")
    processes = shell.processes

    status, output = await shell.run("up")

    assert status == 0
    assert "runs already" in output
    assert shell.processes == processes
    assert all(map(is_alive, processes.values()))


async def test_restarted_service_has_its_new_process_id_in_the_environment(shell: Shell) -> None:
    await shell.run("up")
    first = shell.environment()["GATEWAY_PID"]

    os.kill(int(first), signal.SIGKILL)

    async def is_replaced() -> bool:
        return shell.environment().get("GATEWAY_PID", first) != first

    await poll_until(is_replaced, seconds=_SECONDS)


async def test_taken_port_is_named_in_one_line(shell: Shell) -> None:
    with socket.create_server((LOOPBACK, shell.gateway_port)):
        status, output = await shell.run("up")

    assert status == 1
    assert output.splitlines()[-1] == (
        f"local-stack: port {shell.gateway_port} is taken by another program: "
        "stop it, or set GATEWAY_PORT to another port"
    )
    assert shell.processes == {}


async def test_failed_migration_is_shown_and_everything_is_stopped(shell: Shell) -> None:
    shell.write_stand_in("notifier", migrate_status=7)

    status, output = await shell.run("up")

    assert status == 1
    assert "notifier migrate failed with status 7" in output
    assert shell.processes == {}


async def test_killed_supervisor_leaves_no_orphan_and_the_next_up_works(shell: Shell) -> None:
    await shell.run("up")
    processes, addresses = shell.processes, shell.environment()

    os.kill(shell.supervisor.pid, signal.SIGKILL)
    await shell.until_gone(*processes.values())
    status, output = await shell.run("up")

    assert status == 0, output
    assert shell.environment()["DATABASE_URL"] == addresses["DATABASE_URL"]
    assert shell.environment()["KAFKA_BOOTSTRAP_SERVERS"] == addresses["KAFKA_BOOTSTRAP_SERVERS"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_interrupted_up_leaves_no_orphan(shell: Shell, number: signal.Signals) -> None:
    up = await shell.begin("up")
    assert up.stdout is not None
    await asyncio.wait_for(up.stdout.readuntil(b"ready on"), _SECONDS)
    supervisor, processes = shell.supervisor, shell.processes
    assert processes

    up.send_signal(number)
    await asyncio.wait_for(up.communicate(), _SECONDS)

    await shell.until_gone(supervisor, *processes.values())
    assert shell.processes == {}


async def test_stack_that_a_command_borrowed_ends_with_it(shell: Shell) -> None:
    """What `make demo` does, killed half-way."""
    program = f"""
import pathlib, time
from local_stack.launch import running_stack
from local_stack.paths import StackDirectory
with running_stack(StackDirectory(pathlib.Path({str(shell.directory.root)!r})), print):
    print("borrowed", flush=True)
    time.sleep(600)
"""
    borrower = await shell.begin_python("-c", program)
    assert borrower.stdout is not None
    await asyncio.wait_for(borrower.stdout.readuntil(b"borrowed"), _SECONDS)
    supervisor, processes = shell.supervisor, shell.processes

    borrower.kill()
    await borrower.communicate()

    await shell.until_gone(supervisor, *processes.values())
    assert shell.environment() == {}


async def test_servers_of_the_environment_are_used_and_no_others_started(
    shell: Shell, local_kafka: LocalKafka, database: DatabaseUrls
) -> None:
    status, output = await shell.run(
        "up", KAFKA_BOOTSTRAP_SERVERS=local_kafka.bootstrap_servers, DATABASE_URL=database.admin
    )

    assert status == 0, output
    assert set(shell.processes) == {"rates", *(service.name for service in SERVICES)}
    assert shell.environment()["KAFKA_BOOTSTRAP_SERVERS"] == local_kafka.bootstrap_servers
    assert shell.environment()["DATABASE_URL"] == database.admin


async def test_stack_that_nobody_could_reach_is_named(shell: Shell) -> None:
    port = next(free_ports())

    status, output = await shell.run("up", DATABASE_URL=f"postgresql://a:secret@127.0.0.1:{port}/x")

    assert status == 1
    assert f"no PostgreSQL server answers at DATABASE_URL (127.0.0.1:{port})" in output
    assert "secret" not in output


async def test_down_without_a_stack_is_no_error(shell: Shell) -> None:
    assert await shell.run("down") == (0, "nothing runs\n")


async def test_orders_are_loaded_into_the_database_that_was_named(
    shell: Shell, database: DatabaseUrls
) -> None:
    orders = shell.stand_ins / "orders.csv"
    orders.write_text("order_id,customer_id,created_at,amount\nA1,C1,2025-01-31T10:00:00Z,12.50\n")

    status, output = await shell.run("load", str(orders), DATABASE_URL=database.admin)

    assert (status, output) == (0, "1 orders loaded: 1 new, 0 replaced\n")


async def test_bad_file_of_orders_is_refused_in_one_line(
    shell: Shell, database: DatabaseUrls
) -> None:
    orders = shell.stand_ins / "orders.csv"
    orders.write_text("order_id,customer_id,created_at,amount\nA1,C1,2025-01-31,dear\n")

    status, output = await shell.run("load", str(orders), DATABASE_URL=database.admin)

    assert status == 1
    assert len(output.splitlines()) == 1
    assert "line 2" in output


async def test_orders_need_a_stack(shell: Shell) -> None:
    status, output = await shell.run("load", "orders.csv")

    assert (status, output) == (
        1,
        "local-stack: no stack runs to load orders into: start it with `make up`\n",
    )
