"""`gateway keys create | list | revoke`: API keys for those who may write to the database."""

import argparse
import asyncio
import re
import sys
from datetime import datetime, timedelta
from typing import Final

from gateway.app import open_key_administration
from gateway.domain import ApiKey, Caller, Scope, is_tenant
from gateway.settings import Settings
from shared.clock import rfc3339, utc_now
from shared.commands import OwnCommand
from shared.database.pool import PASSING_ERRORS

_DONE, _UNKNOWN_KEY, _NO_DATABASE = 0, 1, 3
_LONGEST_NAME: Final = 100
_KEY_ID_IN: Final = re.compile(r"(?:rjk_)?([0-9a-v]{16})(?:_.*)?", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser of `gateway keys` what each of its verbs takes."""
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", help="make a key and print it, once")
    create.add_argument("--tenant", required=True, type=_tenant, help="whose jobs it is for")
    create.add_argument("--name", required=True, type=_name, help="who will use it, and for what")
    create.add_argument(
        "--scope",
        action="append",
        choices=[str(scope) for scope in Scope],
        help="what it permits, once or several times; submit and read unless said",
    )
    create.add_argument(
        "--expires-in-days", type=_days, metavar="DAYS", help="after which it ends; never else"
    )
    listing = verbs.add_parser("list", help="show all keys, without what would open anything")
    listing.add_argument("--tenant", type=_tenant, help="only this tenant's")
    revoke = verbs.add_parser("revoke", help="end a key at once, for good")
    revoke.add_argument("key_id", type=_key_id, help="the id that `list` shows")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Do what the arguments say, and return the exit status.

    0: done; 1: there is no such key; 3: the database can't be asked.
    """
    verbs = {"create": _create, "list": _list, "revoke": _revoke}
    try:
        return asyncio.run(verbs[arguments.verb](settings, arguments))
    except PASSING_ERRORS as error:
        sys.stderr.write(f"gateway: keys: the database didn't do it: {type(error).__name__}\n")
        return _NO_DATABASE


KEYS: Final = OwnCommand(
    help="make, list and revoke API keys", run=run, add_arguments=add_arguments
)


async def _create(settings: Settings, arguments: argparse.Namespace) -> int:
    scopes = frozenset(map(Scope, arguments.scope or (Scope.SUBMIT, Scope.READ)))
    days = arguments.expires_in_days
    expires_at = None if days is None else utc_now() + timedelta(days=days)
    async with open_key_administration(settings) as keys:
        text = await keys.create(Caller(arguments.tenant, scopes), arguments.name, expires_at)
    sys.stderr.write("This is the only time that the key is shown:\n")
    sys.stdout.write(text + "\n")
    return _DONE


async def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    async with open_key_administration(settings) as administration:
        keys = await administration.all_of(arguments.tenant)
    now = utc_now()
    rows: list[tuple[str, ...]] = [
        ("KEY ID", "TENANT", "SCOPES", "STATE", "CREATED", "EXPIRES", "NAME")
    ]
    rows += [_row(key, now) for key in keys]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return _DONE


async def _revoke(settings: Settings, arguments: argparse.Namespace) -> int:
    async with open_key_administration(settings) as keys:
        is_known = await keys.revoke(arguments.key_id)
    if not is_known:
        sys.stderr.write(f"gateway: keys: there is no key {arguments.key_id}\n")
        return _UNKNOWN_KEY
    return _DONE


def _row(key: ApiKey, now: datetime) -> tuple[str, ...]:
    return (
        key.key_id,
        key.caller.tenant,
        ",".join(sorted(key.caller.scopes)),
        key.state(now),
        rfc3339(key.created_at)[:19] + "Z",
        rfc3339(key.expires_at)[:19] + "Z" if key.expires_at else "never",
        key.name,
    )


def _tenant(text: str) -> str:
    if not is_tenant(text):
        raise argparse.ArgumentTypeError("a tenant is 1 to 255 visible ASCII characters")
    return text


def _name(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text) <= _LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"a name is 1 to {_LONGEST_NAME} printable characters")
    return text


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 36_500):  # noqa: PLR2004 - a century
        raise argparse.ArgumentTypeError("give a number of days from 1 to 36500")
    return int(text)


def _key_id(text: str) -> str:
    """Take an id; of a whole key, which somebody may paste here, the id is kept alone."""
    found = _KEY_ID_IN.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("a key's id has 16 digits from 0-9 and a-v")
    return found[1]
