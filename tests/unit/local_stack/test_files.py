import stat
from pathlib import Path

import pytest

from local_stack.files import (
    PRIVATE,
    last_lines,
    locked,
    read_or_create,
    set_aside_when_large,
    try_lock,
    write_atomically,
)


def test_written_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"

    write_atomically(path, "old")
    write_atomically(path, "new")

    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_private_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    write_atomically(tmp_path / "key", "secret", mode=PRIVATE)

    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_generated_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    made = iter(("first", "second"))

    assert read_or_create(tmp_path / "key", lambda: next(made)) == "first"
    assert read_or_create(tmp_path / "key", lambda: next(made)) == "first"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(5_000)))

    assert last_lines(log, 2) == "line 4998\nline 4999"
    assert last_lines(tmp_path / "absent") == ""


def test_large_log_is_set_aside_and_a_small_one_kept(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    log.write_text("12345")

    set_aside_when_large(log, limit=5)
    assert log.read_text() == "12345"

    set_aside_when_large(log, limit=4)
    assert not log.exists()
    assert (tmp_path / "kafka.log.1").read_text() == "12345"


def test_lock_has_one_holder_and_ends_with_it(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")

    assert first is not None
    assert try_lock(tmp_path / "lock") is None
    first.close()
    again = try_lock(tmp_path / "lock")
    assert again is not None
    again.close()


async def test_waiting_for_a_lock_is_bounded(tmp_path: Path) -> None:
    holder = try_lock(tmp_path / "lock")
    assert holder is not None

    with holder, pytest.raises(TimeoutError):
        async with locked(tmp_path / "lock", seconds=0.01):
            pass

    async with locked(tmp_path / "lock", seconds=0.01):
        assert try_lock(tmp_path / "lock") is None
