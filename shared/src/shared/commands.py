"""The commands that every service has, `serve` and `migrate`, and room for its own."""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError
from starlette.types import ASGIApp

from shared.catalogue import CatalogueError
from shared.database.pool import TRANSIENT_ERRORS
from shared.service import serve
from shared.settings import DatabaseSettings, LogSettings, ServerSettings
from shared.telemetry.logs import configure_logging


class ServiceSettings(DatabaseSettings, ServerSettings):
    """What the settings of every service have."""


S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class OwnCommand(Generic[S]):
    """A command that one service alone has.

    `add_arguments` tells the parser what the command takes beyond its name; `run` is given what
    was found there, and returns the exit status of the process.
    """

    help: str
    run: Callable[[S, argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class StandaloneCommand:
    """A command that one service alone has and that needs none of its settings."""

    help: str
    run: Callable[[argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None


def run_service(
    service: str,
    *,
    settings: Callable[[], S],
    build_app: Callable[[S], ASGIApp],
    schema: str,
    migrations: Path,
    own_commands: Mapping[str, OwnCommand[S] | StandaloneCommand] | None = None,
) -> None:
    """Run the command that the process's arguments name.

    Settings or catalogue files that are missing or wrong end the process with one line for each,
    and status 2; a database that a migration can't reach with one line and status 1.
    """
    own_commands = own_commands or {}
    parser = argparse.ArgumentParser(prog=service)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the service until SIGTERM")
    commands.add_parser("migrate", help="bring the service's Postgres schema up to date")
    for name, added in own_commands.items():
        added.add_arguments(commands.add_parser(name, help=added.help))
    arguments = parser.parse_args()
    command = arguments.command
    own_command = own_commands.get(command)
    if isinstance(own_command, StandaloneCommand):
        sys.exit(own_command.run(arguments))
    try:
        configure_logging(service=service, level=LogSettings().log_level)
        own = settings()
        if command == "migrate":
            # Alembic takes a third of a service's start, and only this command needs it.
            from shared.database.migrations import migrate  # noqa: PLC0415

            migrate(str(own.database_url), schema=schema, directory=migrations)
            return
        if own_command is not None:
            sys.exit(own_command.run(own, arguments))
        app = build_app(own)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(map(str, problem["loc"])) or error.title
            sys.stderr.write(f"{service}: setting {name}: {problem['msg']}\n")
        sys.exit(2)
    except (ValueError, CatalogueError) as error:
        sys.stderr.writelines(f"{service}: {line}\n" for line in str(error).splitlines())
        sys.exit(2)
    except TRANSIENT_ERRORS as error:
        # The class alone: the text may name hosts or users.
        sys.stderr.write(f"{service}: the database can't be reached: {type(error).__name__}\n")
        sys.exit(1)
    serve(app, own)
