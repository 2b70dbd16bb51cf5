"""Who runs, on disk: for shells that want process ids, and for cleaning up after a crash."""

import json
import logging
import shlex
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from local_stack.files import PRIVATE, write_atomically
from local_stack.identity import ProcessIdentity, end, session_members

_log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 5.0


def save_processes(path: Path, identities: Mapping[str, ProcessIdentity]) -> None:
    """Keep the running processes by name."""
    entries = {name: asdict(identity) for name, identity in identities.items()}
    write_atomically(path, json.dumps(entries, indent=2) + "\n")


def load_processes(path: Path) -> dict[str, ProcessIdentity]:
    """Return the processes that were kept, whether they still run or not."""
    if not path.exists():
        return {}
    entries = json.loads(path.read_text())
    return {name: ProcessIdentity(**entry) for name, entry in entries.items()}


async def end_leftovers(path: Path) -> list[str]:
    """End what a supervisor that was killed left running, and nothing else; return the names.

    Its children die with it. What can be left is a process that was just being started, or the
    children of a child.
    """
    ended = []
    for name, identity in load_processes(path).items():
        if session_members(identity):
            _log.warning("ending %s, left over as process %d", name, identity.pid)
            await end(identity, signal.SIGTERM, grace=_GRACE_SECONDS)
            ended.append(name)
    _forget(path)
    return ended


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def save_environment(
    path: Path, addresses: Mapping[str, str], identities: Mapping[str, ProcessIdentity]
) -> None:
    """Keep addresses and process ids where a shell can source them; readable by us alone."""
    write_atomically(path, render_environment(addresses, identities), mode=PRIVATE)


def render_environment(
    addresses: Mapping[str, str], identities: Mapping[str, ProcessIdentity]
) -> str:
    """Return shell assignments: the addresses, then `<NAME>_PID` for each running process."""
    pids = {variable(name, "PID"): str(identity.pid) for name, identity in identities.items()}
    lines = (f"{name}={shlex.quote(value)}" for name, value in {**addresses, **pids}.items())
    return "".join(f"{line}\n" for line in lines)


def read_environment(path: Path) -> dict[str, str]:
    """Return the assignments of a file that `save_environment` wrote; empty if there is none."""
    if not path.exists():
        return {}
    words = shlex.split(path.read_text())
    return dict(word.split("=", 1) for word in words)


def variable(process: str, suffix: str) -> str:
    """Return the environment variable for something of a process: `report-worker` and `PORT`."""
    return f"{process.upper().replace('-', '_')}_{suffix}"
