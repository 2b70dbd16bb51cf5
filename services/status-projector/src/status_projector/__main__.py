"""The status-projector's commands: `serve`, `migrate`, `verify` and `rebuild`."""

import argparse
import asyncio
import sys
from typing import Final

import asyncpg

from shared.bus import BusUnavailableError
from shared.commands import OwnCommand, run_service
from status_projector.app import (
    MIGRATIONS,
    SCHEMA,
    SERVICE,
    build_app,
    check_read_model,
    rebuild_read_model,
)
from status_projector.service import Verdict
from status_projector.settings import Settings

_SHOWN_IDS: Final = 20
_GOOD, _DIFFERENT, _UNKNOWN, _BEHIND = 0, 1, 3, 4


def run_verify(settings: Settings, _arguments: argparse.Namespace) -> int:
    """Compare read model and log, print the outcome, and return the exit status.

    0: equal; 1: jobs differ; 3: Kafka or the database can't be asked; 4: equal as far as the
    projector came, but it is behind.
    """
    try:
        verdict = asyncio.run(check_read_model(settings))
    except (BusUnavailableError, asyncpg.PostgresError, OSError) as error:
        sys.stderr.write(f"{SERVICE}: verify: {error or type(error).__name__}\n")
        return _UNKNOWN
    sys.stdout.write(describe(verdict) + "\n")
    if verdict.differing:
        return _DIFFERENT
    return _BEHIND if verdict.behind else _GOOD


def run_rebuild(settings: Settings, _arguments: argparse.Namespace) -> int:
    """Rebuild the read model, print what that came to, and return the exit status.

    0: it is rebuilt; 3: Kafka or the database can't be asked, and nothing has changed.
    """
    try:
        rebuilt = asyncio.run(rebuild_read_model(settings))
    except (BusUnavailableError, asyncpg.PostgresError, OSError) as error:
        sys.stderr.write(f"{SERVICE}: rebuild: {error or type(error).__name__}\n")
        return _UNKNOWN
    sys.stdout.write(
        f"{rebuilt.jobs} jobs, {rebuilt.events} events;"
        f" {rebuilt.removed} rows removed, {rebuilt.inserted} put in\n"
    )
    return _GOOD


def describe(verdict: Verdict) -> str:
    """Return the outcome for people, naming no more than 20 jobs."""
    lines = [f"{verdict.jobs} jobs, {verdict.events} events"]
    if verdict.differing:
        shown = ", ".join(verdict.differing[:_SHOWN_IDS])
        more = len(verdict.differing) - _SHOWN_IDS
        rest = f" and {more} more" if more > 0 else ""
        lines.append(f"{len(verdict.differing)} differ: {shown}{rest}")
    if verdict.behind:
        lines.append(f"the projector is {verdict.behind} records behind")
    if verdict.is_good:
        lines.append("the read model is the fold of the log")
    return "; ".join(lines)


def main() -> None:
    """Run the command that the arguments name."""
    run_service(
        SERVICE,
        settings=Settings,
        build_app=build_app,
        schema=SCHEMA,
        migrations=MIGRATIONS,
        own_commands={
            "verify": OwnCommand(help="compare the read model with the log", run=run_verify),
            "rebuild": OwnCommand(
                help="make the read model anew from the log, while it is read and written",
                run=run_rebuild,
            ),
        },
    )


if __name__ == "__main__":
    main()
