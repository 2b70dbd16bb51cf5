"""Starting and stopping the stack from a command: the client side of the supervisor."""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from local_stack.channel import messages
from local_stack.errors import SetupError
from local_stack.files import last_lines, try_lock
from local_stack.identity import ProcessIdentity, end, is_alive
from local_stack.paths import StackDirectory
from local_stack.registry import end_leftovers, load_processes, read_environment

STOP_SECONDS: Final = 120.0
"""How long a stop may take: each service has its own grace below that."""

_PR_SET_PDEATHSIG: Final = 1

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack that is ready: what its `stack.env` says, and whether this command started it."""

    environment: Mapping[str, str]
    is_ours: bool


def up(directory: StackDirectory, say: Say) -> RunningStack:
    """Start the stack in the background; return when it is ready, or was already.

    Raises:
        SetupError: where it can't be started.

    """
    running = _running(directory)
    if running is not None:
        return running
    with _launched(directory, say, tied=False) as environment:
        return RunningStack(environment, is_ours=True)


@contextmanager
def running_stack(directory: StackDirectory, say: Say) -> Iterator[RunningStack]:
    """Lend a ready stack to the body: the one that runs, else one that ends with the body.

    It ends with this process too, however that ends.

    Raises:
        SetupError: where it can't be started.

    """
    running = _running(directory)
    if running is not None:
        yield running
        return
    with _launched(directory, say, tied=True) as environment:
        yield RunningStack(environment, is_ours=True)
        say("stopping what this command started")


def down(directory: StackDirectory) -> bool:
    """Stop the stack and whatever an earlier one left; tell whether anything ran."""
    supervisor = _supervisor(directory)
    if supervisor is not None:
        asyncio.run(end(supervisor, signal.SIGTERM, grace=STOP_SECONDS))
    leftovers = asyncio.run(end_leftovers(directory.processes))
    directory.environment.unlink(missing_ok=True)
    return supervisor is not None or bool(leftovers)


def die_with_parent() -> None:
    """Be interrupted not only by Ctrl-C, but also when `make`, which started us, is killed.

    A shell starts what it runs in the background deaf to Ctrl-C; such a command has to hear too.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _supervisor(directory: StackDirectory) -> ProcessIdentity | None:
    identity = load_processes(directory.supervisor).get("supervisor")
    return identity if identity is not None and is_alive(identity) else None


def _running(directory: StackDirectory) -> RunningStack | None:
    lock = try_lock(directory.lock)
    if lock is not None:
        lock.close()
        return None
    environment = read_environment(directory.environment)
    if not environment:
        raise SetupError("another command is starting or stopping this stack: wait for it")
    return RunningStack(environment, is_ours=False)


@contextmanager
def _launched(directory: StackDirectory, say: Say, *, tied: bool) -> Iterator[Mapping[str, str]]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            daemon = _spawn(directory, theirs, tied=tied)
        try:
            _listen(ours, directory, say)
            yield read_environment(directory.environment)
        except BaseException:
            _abandon(ours, daemon)
            raise
        if tied:
            _abandon(ours, daemon)


def _spawn(
    directory: StackDirectory, connection: socket.socket, *, tied: bool
) -> subprocess.Popen[bytes]:
    """Start the supervisor in a session of its own, where no Ctrl-C reaches it."""
    directory.logs.mkdir(parents=True, exist_ok=True)
    arguments = [str(directory.root), str(connection.fileno()), *(["--tied"] if tied else [])]
    command = [sys.executable, "-P", "-m", "local_stack.daemon", *arguments]
    with directory.log("supervisor").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(connection.fileno(),),
            start_new_session=True,
            env=os.environ,
        )


def _listen(connection: socket.socket, directory: StackDirectory, say: Say) -> None:
    """Pass progress on until the stack is ready.

    Raises:
        SetupError: where it reports a failure, or dies.

    """
    for kind, text in messages(connection):
        if kind == "ready":
            return
        if kind == "failed":
            raise SetupError(text)
        say(text)
    raise SetupError(
        f"the supervisor died; the end of its log:\n{last_lines(directory.log('supervisor'))}"
    )


def _abandon(connection: socket.socket, daemon: subprocess.Popen[bytes]) -> None:
    """Hang up, upon which the supervisor stops everything, and wait until it has."""
    connection.close()
    try:
        daemon.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
