"""The processes of one stack, found by what only they have in their environment."""

from pathlib import Path
from typing import Final

from local_stack.identity import ProcessIdentity, identify
from local_stack.polling import poll_until
from tests.support.stack import SystemStack

_SECONDS: Final = 300.0


def processes_of(stack: SystemStack) -> set[ProcessIdentity]:
    """Return all that runs for this stack: the services, their children, and whatever was left.

    A child inherits the stack's topic prefix whatever its session or parent became.
    """
    mark = f"KAFKA_TOPIC_PREFIX={stack.topic_prefix}".encode()
    marked = (int(entry.name) for entry in Path("/proc").iterdir() if _has(entry, mark))
    return {identity for pid in marked if (identity := identify(pid)) is not None}


def children_of(process: ProcessIdentity) -> list[ProcessIdentity]:
    """Return what a process started itself and what runs now; nothing where it has ended."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [identity for pid in children if (identity := identify(int(pid))) is not None]


async def wait_until_only(stack: SystemStack, *, children: int) -> None:
    """Return once the services are ready and run with so many children, and nothing else runs.

    Each worker has a warm child for each slot, and a guard.
    """
    await stack.wait_until_all_ready()

    async def is_as_started() -> bool:
        running, services = processes_of(stack), set(stack.processes.values())
        return (
            len(services) == len(stack.services)
            and running >= services
            and len(running) == len(services) + children
        )

    await poll_until(is_as_started, seconds=_SECONDS)


def _has(process: Path, mark: bytes) -> bool:
    if not process.name.isdigit():
        return False
    try:
        return mark in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's
        return False
