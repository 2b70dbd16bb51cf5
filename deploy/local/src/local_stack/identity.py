"""Which process is which: a pid alone can be recycled, a pid with its start time can't."""

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_POLL_SECONDS: Final = 0.05
_STATE, _SESSION, _START_TIME = 0, 3, 19  # positions after the command in /proc/<pid>/stat


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot: `start_time` in clock ticks since the kernel started."""

    pid: int
    start_time: int
    boot: str


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What `/proc/<pid>/stat` says about a process."""

    state: str
    session: int
    start_time: int

    @property
    def has_ended(self) -> bool:
        """Tell a zombie, which only waits to be read by its parent, from what still runs."""
        return self.state in {"Z", "X"}


def parse_stat(text: str) -> ProcessStat:
    """Read `/proc/<pid>/stat`; the command in parentheses may hold spaces and parentheses."""
    fields = text.rpartition(")")[2].split()
    return ProcessStat(
        state=fields[_STATE], session=int(fields[_SESSION]), start_time=int(fields[_START_TIME])
    )


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a process that runs now, or None."""
    stat = _stat(pid)
    if stat is None or stat.has_ended:
        return None
    return ProcessIdentity(pid=pid, start_time=stat.start_time, boot=_boot())


def is_alive(identity: ProcessIdentity) -> bool:
    """Tell whether exactly this process still runs."""
    return identify(identity.pid) == identity


def session_members(identity: ProcessIdentity) -> list[ProcessIdentity]:
    """Return what runs in the session that this process leads or led, itself included.

    While a member lives the kernel doesn't give the leader's pid to anyone else, so a pid that
    now names a younger process means that the session is gone.
    """
    leader = _stat(identity.pid)
    recycled = leader is not None and leader.start_time != identity.start_time
    if recycled or identity.boot != _boot():
        return []
    return [
        ProcessIdentity(pid=pid, start_time=stat.start_time, boot=identity.boot)
        for pid, stat in _processes()
        if stat.session == identity.pid
        and not stat.has_ended
        and stat.start_time >= identity.start_time
    ]


def kill_session(identity: ProcessIdentity) -> None:
    """Send SIGKILL to whatever is left of the session that this process leads or led."""
    for member in session_members(identity):
        send_signal(member, signal.SIGKILL)


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> None:
    """Signal exactly this process; nothing happens when it is gone.

    The descriptor pins the process, so that its pid can't be recycled between check and signal.
    """
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(identity):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


async def end(identity: ProcessIdentity, number: signal.Signals, *, grace: float) -> None:
    """Ask a process that isn't our child to stop, then kill what is left of its session."""
    send_signal(identity, number)
    await wait_until_gone(identity, seconds=grace)
    kill_session(identity)
    await wait_until_gone(identity, seconds=grace)


async def wait_until_gone(identity: ProcessIdentity, *, seconds: float) -> bool:
    """Wait until the process has ended, at most `seconds`; tell whether it has."""
    deadline = asyncio.get_running_loop().time() + seconds
    while is_alive(identity):
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def working_in(directory: Path) -> list[ProcessIdentity]:
    """Return the processes whose working directory is `directory`."""
    target = str(directory.resolve())
    found = (identify(pid) for pid, _ in _processes() if _working_directory(pid) == target)
    return [identity for identity in found if identity is not None]


def _processes() -> list[tuple[int, ProcessStat]]:
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [(pid, stat) for pid in pids if (stat := _stat(pid)) is not None]


def _stat(pid: int) -> ProcessStat | None:
    try:
        return parse_stat((_PROC / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _working_directory(pid: int) -> str | None:
    try:
        return str((_PROC / str(pid) / "cwd").readlink())
    except OSError:  # gone, or another user's
        return None


def _boot() -> str:
    return (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
