"""The broker's jars, fetched once by Maven from a pinned list."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from local_stack.child import ProcessSpec, run_to_end
from local_stack.files import locked
from local_stack.java import Java
from local_stack.paths import DEFINITIONS, StackDirectory

POM: Final = DEFINITIONS / "pom.xml"

_FETCH_SECONDS: Final = 600.0


def fingerprint(pom: Path) -> str:
    """Return what names the jars of this pom: they are fetched again when it changes."""
    return hashlib.sha256(pom.read_bytes()).hexdigest()[:16]


def jars_folder(directory: StackDirectory) -> Path:
    """Return where the jars of the present pom are, or will be."""
    return directory.root / "kafka" / f"libs-{fingerprint(POM)}"


async def fetch_jars(directory: StackDirectory, java: Java) -> Path:
    """Return the folder of the broker's jars; a half-fetched one is never seen under that name.

    Raises:
        SetupError: where Maven fails.

    """
    libs = jars_folder(directory)
    async with locked(libs.parent / "fetch.lock", seconds=_FETCH_SECONDS):
        if not libs.is_dir():
            await _fetch_into(libs, directory, java)
    return libs


async def _fetch_into(libs: Path, directory: StackDirectory, java: Java) -> None:
    partial = libs.with_name("libs.partial")
    shutil.rmtree(partial, ignore_errors=True)
    await run_to_end(
        ProcessSpec(
            name="maven",
            command=_command(partial),
            log=directory.log("setup"),
            environment=os.environ | {"JAVA_HOME": str(java.home)},
        ),
        seconds=_FETCH_SECONDS,
    )
    for outdated in libs.parent.glob("libs-*"):
        shutil.rmtree(outdated)
    partial.rename(libs)


def _command(target: Path) -> tuple[str, ...]:
    options = ("--quiet", "--batch-mode", "--strict-checksums", "--file", str(POM))
    return (
        "mvn",
        *options,
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={target}",
    )
