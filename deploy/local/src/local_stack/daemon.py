"""The supervisor process: runs the stack in the background until it is told to stop."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from local_stack.channel import Speaker
from local_stack.errors import SetupError
from local_stack.files import try_lock
from local_stack.identity import identify
from local_stack.paths import StackDirectory
from local_stack.registry import save_processes
from local_stack.stack import Stack

_log = logging.getLogger(__name__)


def main() -> None:
    """Run what `local_stack.launch` started in the background."""
    parser = argparse.ArgumentParser(prog="local-stack-supervisor", description=__doc__)
    parser.add_argument("directory", type=Path, help="where data, logs and keys are")
    parser.add_argument("connection", type=int, help="descriptor of the socket to report to")
    parser.add_argument("--tied", action="store_true", help="end when that socket closes")
    arguments = parser.parse_args()
    connection = socket.socket(fileno=arguments.connection)
    directory = StackDirectory(arguments.directory)
    sys.exit(supervise(directory, connection, tied=arguments.tied, caller=dict(os.environ)))


def supervise(
    directory: StackDirectory, connection: socket.socket, *, tied: bool, caller: Mapping[str, str]
) -> int:
    """Run the stack; return the exit status.

    `tied` stacks end with the command that started them, others only if that ends before they
    are ready.
    """
    _set_up_logging()
    speaker = Speaker(connection)
    lock = try_lock(directory.lock)
    if lock is None:
        speaker.say("failed", "another command is starting or stopping this stack")
        return 1
    with lock:
        return asyncio.run(_run(directory, connection, speaker, tied=tied, caller=caller))


async def _run(
    directory: StackDirectory,
    connection: socket.socket,
    speaker: Speaker,
    *,
    tied: bool,
    caller: Mapping[str, str],
) -> int:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    _stop_when_abandoned(stop, connection, speaker)
    _save_own_identity(directory)
    stack = Stack(directory, caller, lambda line: speaker.say("progress", line))
    try:
        failure = await _start(stack, stop)
        if failure is not None:
            speaker.say("failed", failure)
            return 1
        speaker.say("ready")
        if not tied:
            _let_go(connection)
        await stop.wait()
        return 0
    finally:
        await stack.stop()
        directory.supervisor.unlink(missing_ok=True)


async def _start(stack: Stack, stop: asyncio.Event) -> str | None:
    """Start the stack; return what went wrong, or None."""
    start = asyncio.create_task(stack.start())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((start, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    start.cancel()  # nothing happens where it has ended
    try:
        await start
    except asyncio.CancelledError:
        return "stopped before it was ready"
    except SetupError as error:
        _log.error("the stack could not be started: %s", error)
        return str(error)
    except Exception as error:  # noqa: BLE001 - somebody waits for an answer
        _log.exception("the stack could not be started")
        return f"{type(error).__name__}: {error}; the supervisor's log has more"
    return None


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)


def _stop_when_abandoned(stop: asyncio.Event, connection: socket.socket, speaker: Speaker) -> None:
    loop = asyncio.get_running_loop()

    def look() -> None:
        if speaker.is_abandoned():
            loop.remove_reader(connection)
            _log.info("the command that started the stack is gone")
            stop.set()

    loop.add_reader(connection, look)


def _let_go(connection: socket.socket) -> None:
    asyncio.get_running_loop().remove_reader(connection)
    connection.close()


def _save_own_identity(directory: StackDirectory) -> None:
    own = identify(os.getpid())
    assert own is not None  # noqa: S101 - we run
    save_processes(directory.supervisor, {"supervisor": own})


def _set_up_logging() -> None:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that starts refuses first


if __name__ == "__main__":
    main()
