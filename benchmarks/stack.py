"""The stack that is measured: fresh, with shipped defaults, on two cores, and gone afterwards."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.errors import BenchmarkError
from benchmarks.wire import NUMBER, post
from local_stack.accounts import remove_server_home
from local_stack.files import try_lock
from local_stack.identity import send_signal
from local_stack.launch import Say, down, running_stack
from local_stack.paths import LOCAL, StackDirectory
from local_stack.ports import Ports
from local_stack.registry import load_processes

HOME: Final = LOCAL / "bench"
CORES: Final = 2

CATALOGUE: Final = Path(__file__).parent / "catalogue"
_SETTINGS: Final = (
    "ARTIFACTS_URL",
    "CALLBACK_ALLOWED_NETWORKS",
    "CATALOGUE_DIR",
    "DATABASE_URL",
    "GATEWAY_",
    "JOB_ID_KEYS",
    "KAFKA_",
    "LINK_KEYS",
    "LOG_LEVEL",
    "NOTIFIER_",
    "PUBLIC_URL",
    "REPORT_RETENTION",
    "REPORT_WORKER_",
    "STATUS_PROJECTOR_",
)
"""How the names of all settings begin: a caller's own must not change what is measured."""

_FAR_LIMITS: Final = {
    "GATEWAY_SUBMIT_RATE": "1000000",
    "GATEWAY_SUBMIT_BURST": "1000000",
    "GATEWAY_READ_RATE": "1000000",
    "GATEWAY_READ_BURST": "1000000",
    "GATEWAY_MAX_ACTIVE_JOBS": "1000000",
}
"""All load is one tenant's: within its limits, these would be measured and not the gateway. They
are far away but not off, so that each request still pays for them."""

NO_OP: Final[dict[str, Any]] = {
    "reportType": "NO_OP",
    "dateRange": {"fromDate": "2024-01-01", "toDate": "2024-01-31"},
    "format": "CSV",
}
SUBMISSION: Final = post("/generate-report", NO_OP)
"""A POST of a no-op job."""
KEYED_SUBMISSION: Final = post("/generate-report", NO_OP, key=NUMBER)
"""The same with an Idempotency-Key of its own."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack and the addresses that a measurement needs."""

    directory: StackDirectory
    gateway_port: int
    bare_port: int
    """Free, for the bare routes."""
    s3_port: int
    """Free, for an S3 server."""
    kafka: str
    database: str
    """The administrator's URL."""

    @property
    def pids(self) -> dict[str, int]:
        """The processes by name, those of Kafka and PostgreSQL included."""
        return {name: one.pid for name, one in load_processes(self.directory.processes).items()}

    @contextmanager
    def paused(self, *names: str) -> Iterator[None]:
        """Hold processes still during the body."""
        chosen = [load_processes(self.directory.processes)[name] for name in names]
        for identity in chosen:
            send_signal(identity, signal.SIGSTOP)
        try:
            yield
        finally:
            for identity in chosen:
                send_signal(identity, signal.SIGCONT)


@contextmanager
def fresh_stack(say: Say) -> Iterator[Stack]:
    """Run a stack without any past on the first two cores, the caller's own processes too.

    Raises:
        BenchmarkError: where another benchmark is under way.
        SetupError: where it can't be started.

    """
    lock = try_lock(HOME / "lock")
    if lock is None:
        raise BenchmarkError("another benchmark is under way")
    with lock:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        directory = StackDirectory(HOME / "stack")
        _forget(directory)
        ports = Ports(directory.ports)
        _set_environment(ports)
        with running_stack(directory, say) as stack:
            environment = stack.environment
            yield Stack(
                directory=directory,
                gateway_port=urlsplit(environment["GATEWAY_URL"]).port or 0,
                bare_port=ports.choose("bare"),
                s3_port=ports.choose("s3"),
                kafka=environment["KAFKA_BOOTSTRAP_SERVERS"],
                database=environment["DATABASE_URL"],
            )


def _forget(directory: StackDirectory) -> None:
    down(directory)
    remove_server_home(directory.postgres)
    shutil.rmtree(directory.root, ignore_errors=True)


def _set_environment(ports: Ports) -> None:
    for name in [name for name in os.environ if name.startswith(_SETTINGS)]:
        del os.environ[name]
    os.environ["GATEWAY_PORT"] = str(ports.choose("gateway"))
    os.environ["CATALOGUE_DIR"] = str(CATALOGUE)
    os.environ.update(_FAR_LIMITS)
