"""Files that others read while they are written: replaced whole, secrets readable by us alone."""

import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, Final

from local_stack.polling import poll_until

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


def write_atomically(path: Path, text: str, *, mode: int = PUBLIC) -> None:
    """Replace `path` by `text`, so that a reader sees the old or the new text and never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_or_create(path: Path, create: Callable[[], str], *, mode: int = PRIVATE) -> str:
    """Return the text of `path`, made by `create` and kept when there is none yet."""
    if not path.exists():
        write_atomically(path, create(), mode=mode)
    return path.read_text()


def last_lines(path: Path, count: int = 15, *, window: int = 16_384) -> str:
    """Return the last lines of a log, at most `window` bytes of it; empty if there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - window))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-count:])


def set_aside_when_large(log: Path, *, limit: int = 16 * 2**20) -> None:
    """Rename a log of more than `limit` bytes, over the one that was renamed before."""
    if log.exists() and log.stat().st_size > limit:
        log.replace(log.with_name(f"{log.name}.1"))


def try_lock(path: Path) -> IO[str] | None:
    """Take the lock file and return it, or None where another process holds it.

    The kernel releases the lock when the holder closes the file or dies, however it dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@asynccontextmanager
async def locked(path: Path, *, seconds: float) -> AsyncIterator[None]:
    """Hold the lock file for the body; wait up to `seconds` for another holder.

    Raises:
        TimeoutError: where the other process keeps the lock.

    """
    async with AsyncExitStack() as stack:

        async def is_ours() -> bool:
            file = try_lock(path)
            if file is None:
                return False
            stack.enter_context(file)
            return True

        await poll_until(is_ours, seconds=seconds)
        yield
