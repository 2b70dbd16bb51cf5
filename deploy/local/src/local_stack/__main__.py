"""The commands behind the make targets: up, down, status, demo, load, clean."""

import argparse
import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from local_stack.accounts import remove_server_home
from local_stack.demo import run_demo
from local_stack.errors import SetupError
from local_stack.identity import is_alive
from local_stack.launch import die_with_parent, down, running_stack, up
from local_stack.paths import LOCAL, StackDirectory
from local_stack.registry import load_processes, read_environment
from local_stack.servers import DATABASE_VARIABLE
from local_stack.source_data import generate, load_orders

_INTERRUPTED: Final = 130


def main() -> None:
    """Run one command and exit with its status."""
    arguments = _parser().parse_args()
    try:
        sys.exit(_run(arguments))
    except SetupError as error:
        _complain(str(error))
    except PermissionError as error:
        _complain(f"{error.filename} belongs to somebody else: {error.strerror}")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="local-stack", description=__doc__)
    parser.add_argument(
        "--directory", type=Path, default=LOCAL, help="where its data, logs and keys are"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the stack in the background")
    commands.add_parser("down", help="stop it")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("demo", help="show one report per format, from POST to webhook")
    load = commands.add_parser("load", help="load orders from a CSV file into the data source")
    load.add_argument("file", type=Path)
    commands.add_parser("clean", help="stop it and delete its data, downloads and keys")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    directory = StackDirectory(arguments.directory.resolve())
    match arguments.command:
        case "up":
            return _up(directory)
        case "down":
            return _down(directory)
        case "status":
            return _status(directory)
        case "demo":
            return _demo(directory)
        case "load":
            return _load(directory, arguments.file)
        case _:
            return _clean(directory)


def _up(directory: StackDirectory) -> int:
    die_with_parent()
    running = up(directory, _say)
    _say("ready" if running.is_ours else "the stack runs already (`make down` stops it)")
    _say(f"gateway    {running.environment['GATEWAY_URL']}")
    _say(f"addresses  {directory.environment}")
    _say(f"logs       {directory.logs}")
    return 0


def _down(directory: StackDirectory) -> int:
    _say("stopped" if down(directory) else "nothing runs")
    return 0


def _status(directory: StackDirectory) -> int:
    known = load_processes(directory.processes)
    running = {name: identity.pid for name, identity in known.items() if is_alive(identity)}
    for name, pid in running.items():
        _say(f"{name:<18} process {pid}")
    if not running:
        _say("nothing runs")
    return 0


def _demo(directory: StackDirectory) -> int:
    die_with_parent()
    with running_stack(directory, _say) as stack:
        _say(f"gateway    {stack.environment['GATEWAY_URL']}")
        data = asyncio.run(generate(stack.environment["DATABASE_URL"]))
        _say(f"demo data  {data.orders:,} orders of {data.customers:,} customers")
        run_demo(directory, stack, _say)
    return 0


def _load(directory: StackDirectory, file: Path) -> int:
    loaded = asyncio.run(load_orders(file, _data_source(directory)))
    _say(f"{loaded.rows:,} orders loaded: {loaded.added:,} new, {loaded.replaced:,} replaced")
    return 0


def _data_source(directory: StackDirectory) -> str:
    """Return the administrator's URL of the running stack, else the one that the caller names."""
    url = read_environment(directory.environment).get(DATABASE_VARIABLE)
    url = url or os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise SetupError("no stack runs to load orders into: start it with `make up`")
    return url


def _clean(directory: StackDirectory) -> int:
    down(directory)
    remove_server_home(directory.postgres)
    shutil.rmtree(directory.root, ignore_errors=True)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command speaks on standard output


def _complain(line: str) -> None:
    sys.exit(f"local-stack: {line}")


if __name__ == "__main__":
    main()
