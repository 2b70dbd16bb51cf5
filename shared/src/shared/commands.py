"""The commands that every service has: `serve` and `migrate`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from starlette.types import ASGIApp

from shared.database.migrations import migrate
from shared.service import serve
from shared.settings import DatabaseSettings, LogSettings, ServerSettings
from shared.telemetry.logs import configure_logging


class ServiceSettings(DatabaseSettings, ServerSettings):
    """What the settings of every service have."""


S = TypeVar("S", bound=ServiceSettings)


def run_service(
    service: str,
    *,
    settings: Callable[[], S],
    build_app: Callable[[S], ASGIApp],
    schema: str,
    migrations: Path,
) -> None:
    """Run the command that the process's arguments name.

    Settings that are missing or wrong end the process with one line for each, and status 2.
    """
    parser = argparse.ArgumentParser(prog=service)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the service until SIGTERM")
    commands.add_parser("migrate", help="bring the service's Postgres schema up to date")
    command = parser.parse_args().command
    try:
        configure_logging(service=service, level=LogSettings().log_level)
        own = settings()
        if command == "migrate":
            migrate(str(own.database_url), schema=schema, directory=migrations)
            return
        app = build_app(own)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(map(str, problem["loc"])) or error.title
            sys.stderr.write(f"{service}: setting {name}: {problem['msg']}\n")
        sys.exit(2)
    except ValueError as error:
        sys.stderr.write(f"{service}: {error}\n")
        sys.exit(2)
    serve(app, own)
