"""Child processes: each in its own session, its output in a file, and gone when we are."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from local_stack.errors import SetupError
from local_stack.files import last_lines
from local_stack.identity import ProcessIdentity, identify, kill_session, send_signal


async def _nothing() -> None:
    """Do nothing before the start."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user and group of this machine."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How a process is started and stopped. Times in seconds."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(repr=False, default_factory=lambda: dict(os.environ))
    directory: Path = Path("/")
    account: Account | None = None
    """Run as this account instead of our own, which only root can."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace: float = 15.0
    """How long a stop may take before the whole session is killed."""
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends the process when the one that started it dies."""
    before_start: Callable[[], Awaitable[None]] = field(repr=False, default=_nothing)


class ChildProcess:
    """A started process."""

    def __init__(self, spec: ProcessSpec, process: Process, identity: ProcessIdentity) -> None:
        self.spec = spec
        self.identity = identity
        self._process = process

    @classmethod
    async def start(cls, spec: ProcessSpec) -> Self:
        """Start the process.

        It dies with the thread that starts it (that is how the kernel counts parents), so this
        has to be called from a thread that lives as long as the program.
        """
        await spec.before_start()
        with _open_log(spec.log) as log:
            process = await asyncio.create_subprocess_exec(
                *_with_privileges(spec),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(spec.environment),
                cwd=spec.directory,
                start_new_session=True,
            )
        identity = identify(process.pid)
        # A process that has ended already has no start time to tell it from a later one.
        return cls(spec, process, identity or ProcessIdentity(process.pid, -1, ""))

    async def wait(self) -> int:
        """Wait for the end, take what is left of the session along, and return the exit code."""
        code = await self._process.wait()
        kill_session(self.identity)
        return code

    async def stop(self) -> int:
        """Ask the process to stop; kill it where it doesn't within its grace."""
        send_signal(self.identity, self.spec.stop_signal)
        try:
            return await asyncio.wait_for(self.wait(), self.spec.stop_grace)
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End the process and its session at once, as a crash would."""
        kill_session(self.identity)
        return await self.wait()


async def run_to_end(spec: ProcessSpec, *, seconds: float) -> None:
    """Run a command and wait for it.

    Raises:
        SetupError: where it fails or takes longer than `seconds`, with the end of its log.

    """
    child = await ChildProcess.start(spec)
    try:
        code = await asyncio.wait_for(child.wait(), seconds)
    except TimeoutError:
        await child.stop()
        raise SetupError(f"{spec.name} took longer than {seconds:.0f} s; see {spec.log}") from None
    except asyncio.CancelledError:
        await child.stop()
        raise
    if code != 0:
        raise SetupError(f"{spec.name} failed with status {code}; {describe_log(spec.log)}")


def describe_log(log: Path) -> str:
    """Return where a log is and how it ends, for an error message."""
    end = last_lines(log)
    return f"the end of {log}:\n{end}" if end else f"{log} is empty"


def _with_privileges(spec: ProcessSpec) -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise SetupError("`setpriv` is missing: install util-linux (the local stack needs Linux)")
    signal_name = spec.orphan_signal.name.removeprefix("SIG")
    switch = _account_options(spec.account) if spec.account else ()
    return (setpriv, "--pdeathsig", signal_name, *switch, "--", *spec.command)


def _account_options(account: Account) -> tuple[str, ...]:
    return (f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups")


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")
