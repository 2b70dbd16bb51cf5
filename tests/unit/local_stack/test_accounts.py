from pathlib import Path

from local_stack.accounts import is_reachable


def test_closed_folder_hides_what_lies_below(tmp_path: Path) -> None:
    hidden = tmp_path / "closed" / "open"
    hidden.mkdir(parents=True, mode=0o755)
    hidden.parent.chmod(0o700)

    assert not is_reachable(hidden)
    assert is_reachable(Path("/usr"))
