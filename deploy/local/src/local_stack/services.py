"""The four services as data: how each is started, what it is told, and when it is ready."""

import asyncio
import http.client
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_stack.child import ProcessSpec, describe_log, run_to_end
from local_stack.concurrently import concurrently
from local_stack.errors import SetupError
from local_stack.paths import StackDirectory
from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK
from local_stack.registry import variable

READY_SECONDS: Final = 180.0
MIGRATE_SECONDS: Final = 120.0

_PROBE_SECONDS: Final = 2.0
_HTTP_OK: Final = 200
_HOPELESS_DEATHS: Final = 4


@dataclass(frozen=True, slots=True)
class Service:
    """A service: `name` as people say it, `module` as Python runs it, `role` in the database.

    Processes of the same service have names of their own and all else in common.
    """

    name: str
    module: str
    role: str
    drain_seconds: float = 15.0
    """How long it may take to finish or release its work after SIGTERM."""

    def setting(self, suffix: str) -> str:
        """Return the name of one of its environment variables: `REPORT_WORKER_PORT`."""
        return variable(self.module, suffix)

    def command(self, verb: str) -> tuple[str, ...]:
        """Return the command that runs the service (`serve`) or its migrations (`migrate`)."""
        return (sys.executable, "-P", "-m", self.module, verb)


SERVICES: Final = (
    Service("status-projector", "status_projector", role="status_projector"),
    Service("notifier", "notifier", role="notifier"),
    Service("report-worker", "report_worker", role="report_worker", drain_seconds=30.0),
    Service("gateway", "gateway", role="gateway"),
)
"""In the order they start; they stop in the reverse, so that nothing new is taken in first."""


def process_spec(
    service: Service, directory: StackDirectory, environment: Mapping[str, str]
) -> ProcessSpec:
    """Return how the service's process is started."""
    return ProcessSpec(
        name=service.name,
        command=service.command("serve"),
        log=directory.log(service.name),
        environment=environment,
        directory=directory.root,
        stop_grace=service.drain_seconds,
    )


async def migrate(
    services: Sequence[Service],
    directory: StackDirectory,
    environments: Mapping[str, Mapping[str, str]],
) -> None:
    """Bring the schemas of all services up to date, at the same time.

    Raises:
        SetupError: where a migration fails, with the end of its log.

    """
    specs = (
        ProcessSpec(
            name=f"{service.name} migrate",
            command=service.command("migrate"),
            log=directory.log(f"{service.name}-migrate"),
            environment=environments[service.name],
            directory=directory.root,
        )
        for service in services
    )
    await concurrently(*(run_to_end(spec, seconds=MIGRATE_SECONDS) for spec in specs))


async def wait_until_ready(
    service: Service,
    port: int,
    log: Path,
    deaths: Callable[[], int],
    *,
    seconds: float = READY_SECONDS,
) -> None:
    """Return when the service says that it is ready.

    Raises:
        SetupError: where it doesn't within `seconds`, or dies again and again.

    """

    async def is_ready() -> bool:
        if deaths() >= _HOPELESS_DEATHS:
            raise SetupError(f"{service.name} keeps dying; {describe_log(log)}")
        return await asyncio.to_thread(answers_ready, port)

    try:
        await poll_until(is_ready, seconds=seconds)
    except TimeoutError:
        raise SetupError(
            f"{service.name} wasn't ready within {seconds:.0f} s; {describe_log(log)}"
        ) from None


def answers_ready(port: int) -> bool:
    """Tell whether `/readyz` on this loopback port answers 200 now."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == _HTTP_OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
