"""`report-worker catalogue check`: for the CI of whoever writes report types.

It needs no settings, no Kafka and no database of the worker's own.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import PostgresDsn, TypeAdapter, ValidationError

from report_worker.check.plugins import plugin_mistakes
from shared.catalogue import CatalogueError, CatalogueFile, Mistake, load_files

_GOOD, _MISTAKES, _UNCHECKED = 0, 1, 2
_URL: Final = TypeAdapter(PostgresDsn)
_USAGE: Final = """\
Checks the files of a catalogue, and the plugins that they name. Prints what is wrong as
"file:line: field: reason", one line each. Exit status: 0 nothing is wrong, 1 something is,
2 it could not be checked.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="check report types", description=_USAGE)
    check.add_argument(
        "directory",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="the catalogue's folder (default: $CATALOGUE_DIR)",
    )
    check.add_argument(
        "--source",
        action="append",
        default=[],
        type=_source,
        metavar="NAME=URL",
        help="also prepare the queries of this source against the Postgres database at URL, and"
        " check their columns; the password may come from $PGPASSWORD",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return the exit status."""
    directory: Path | None = arguments.directory
    if directory is None and os.environ.get("CATALOGUE_DIR"):
        directory = Path(os.environ["CATALOGUE_DIR"])
    if directory is None:
        sys.stderr.write("report-worker: say which folder: catalogue check DIR\n")
        return _UNCHECKED
    try:
        files = load_files(directory)
        mistakes = plugin_mistakes(files) + _query_mistakes(files, dict(arguments.source))
    except CatalogueError as error:
        mistakes = error.mistakes
    except ConnectionError as error:
        sys.stderr.write(f"report-worker: can't be asked: {error}\n")
        return _UNCHECKED
    if mistakes:
        sys.stdout.writelines(f"{mistake}\n" for mistake in mistakes)
        sys.stderr.write(f"report-worker: {_counted(len(mistakes), 'mistake')}\n")
        return _MISTAKES
    sys.stderr.write(_summary(files, [name for name, _ in arguments.source]))
    return _GOOD


def _query_mistakes(files: Sequence[CatalogueFile], sources: Mapping[str, str]) -> list[Mistake]:
    if not sources:
        return []
    # What makes reports takes a second to import, and the other commands have no use for it.
    from report_worker.check.queries import query_mistakes  # noqa: PLC0415

    return asyncio.run(query_mistakes(files, sources))


def _source(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    try:
        return name, str(_URL.validate_python(url))
    except ValidationError:
        # argparse would print the text, with the password in it.
        raise argparse.ArgumentTypeError(
            f"{name.partition(':')[0]}=... is not NAME=postgresql://..."
        ) from None


def _summary(files: Sequence[CatalogueFile], sources: Sequence[str]) -> str:
    """Say what was checked, and which queries weren't held against a database."""
    types = [file.report_type for file in files]
    unchecked = sorted({one.source for one in types if one.source} - set(sources))
    line = f"report-worker: {_counted(len(files), 'report type')}, no mistake"
    if unchecked:
        line += f" (queries not prepared: no --source for {', '.join(unchecked)})"
    return line + "\n"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
