"""Commands that are there, and what is said where one isn't."""

from pathlib import Path

import pytest

from local_stack.errors import SetupError
from local_stack.packages import ensure_command
from local_stack.paths import StackDirectory


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def add_command(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


async def test_the_first_command_that_is_there_is_taken(folder: Path, tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    second = add_command(folder, "second")
    assert await ensure_command(directory, "first", "second", package="one") == second
    first = add_command(folder, "first")
    assert await ensure_command(directory, "first", "second", package="one") == first


@pytest.mark.usefixtures("folder")
async def test_what_can_not_be_installed_is_named_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"`first` is missing.*apt-get install one"):
        await ensure_command(StackDirectory(tmp_path), "first", "second", package="one")
