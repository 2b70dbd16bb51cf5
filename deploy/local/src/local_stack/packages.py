"""Commands that a Debian package brings, installed where they are missing and can be."""

import os
import shutil
from typing import Final

from local_stack.child import ProcessSpec, run_to_end
from local_stack.errors import SetupError
from local_stack.files import locked
from local_stack.paths import StackDirectory

_INSTALL_SECONDS: Final = 600.0
_LOCK_SECONDS: Final = 2.5 * _INSTALL_SECONDS
"""Longer than another process holds it for both of its steps."""


async def ensure_command(directory: StackDirectory, *commands: str, package: str) -> str:
    """Return the first of the commands that is there, else that of the package, installed.

    Raises:
        SetupError: where none is there and the package can't be installed.

    """
    if found := _find(commands):
        return found
    async with locked(directory.root / "packages.lock", seconds=_LOCK_SECONDS):
        if not _find(commands):  # another process has installed it meanwhile
            await _install(directory, commands[0], package)
    if found := _find(commands):
        return found
    raise SetupError(
        f"{package} is installed but `{commands[0]}` isn't on PATH: add its folder to PATH"
    )


def _find(commands: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, commands)), None)


async def _install(directory: StackDirectory, command: str, package: str) -> None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise SetupError(
            f"`{command}` is missing: install it (Debian: `sudo apt-get install {package}`)"
        )
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ("install", "--yes", "--no-install-recommends", package)
    for arguments in (("update",), install):
        await run_to_end(
            ProcessSpec(
                name=f"{package}-setup",
                command=(apt, "--quiet", *arguments),
                log=directory.log("setup"),
                environment=environment,
            ),
            seconds=_INSTALL_SECONDS,
        )
