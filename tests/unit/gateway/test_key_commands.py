"""What `gateway keys` takes from its arguments, and what it refuses."""

import argparse

import pytest

from gateway.key_commands import add_arguments


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("create", "--tenant", "acme"),
        ("create", "--name", "x"),
        ("create", "--tenant", "a b", "--name", "x"),
        ("create", "--tenant", "", "--name", "x"),
        ("create", "--tenant", "a\u00e9", "--name", "x"),
        ("create", "--tenant", "acme", "--name", "a\nb"),
        ("create", "--tenant", "acme", "--name", "x" * 101),
        ("create", "--tenant", "acme", "--name", "x", "--scope", "root"),
        ("create", "--tenant", "acme", "--name", "x", "--expires-in-days", "0"),
        ("create", "--tenant", "acme", "--name", "x", "--expires-in-days", "\u0663"),
        ("create", "--tenant", "acme", "--name", "x", "--expires-in-days", "9" * 5000),
        ("revoke",),
        ("revoke", "'; DROP TABLE api_keys; --"),
    ],
)
def test_what_makes_no_sense_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as refused:
        parsed(*arguments)
    assert refused.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_whole_key_that_is_pasted_names_its_id() -> None:
    key_id = "0123456789abcdef"
    for text in (key_id, f"rjk_{key_id}", f"rjk_{key_id}_{'0' * 52}"):
        assert parsed("revoke", text).key_id == key_id
