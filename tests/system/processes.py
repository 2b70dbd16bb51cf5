"""The processes of one stack, found by what only they have in their environment."""

from pathlib import Path

from local_stack.identity import ProcessIdentity, identify
from tests.support.stack import SystemStack


def processes_of(stack: SystemStack) -> set[ProcessIdentity]:
    """Return all that runs for this stack: the services, their children, and whatever was left.

    A child inherits the stack's topic prefix whatever its session or parent became.
    """
    mark = f"KAFKA_TOPIC_PREFIX={stack.topic_prefix}".encode()
    marked = (int(entry.name) for entry in Path("/proc").iterdir() if _has(entry, mark))
    return {identity for pid in marked if (identity := identify(pid)) is not None}


def _has(process: Path, mark: bytes) -> bool:
    if not process.name.isdigit():
        return False
    try:
        return mark in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's
        return False
