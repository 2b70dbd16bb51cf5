import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.errors import SetupError
from local_stack.ports import LOOPBACK, Ports, free_ports, is_free


def _from(*numbers: int) -> Iterator[int]:
    return iter(numbers)


def test_chosen_port_is_kept_for_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = Ports(path, is_free=lambda _: True, free_ports=lambda: _from(20_001))
    later = Ports(path, is_free=lambda _: True, free_ports=lambda: _from(20_002))

    assert first.choose("kafka") == 20_001
    assert later.choose("kafka") == 20_001
    assert later.known("kafka") == 20_001
    assert later.known("postgres") is None


def test_port_that_was_taken_meanwhile_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.write_text(json.dumps({"kafka": 20_001}))
    ports = Ports(path, is_free=lambda port: port != 20_001, free_ports=lambda: _from(20_002))

    assert ports.choose("kafka") == 20_002
    assert ports.known("kafka") == 20_002


def test_no_port_is_given_twice(tmp_path: Path) -> None:
    ports = Ports(
        tmp_path / "ports.json", is_free=lambda _: True, free_ports=lambda: _from(20_001, 20_002)
    )

    assert [ports.choose("kafka"), ports.choose("postgres")] == [20_001, 20_002]


def test_without_a_free_port_the_error_says_for_what(tmp_path: Path) -> None:
    ports = Ports(tmp_path / "ports.json", free_ports=_from)

    with pytest.raises(SetupError, match="kafka"):
        ports.choose("kafka")


def test_port_with_a_listener_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_port_that_was_given_out_is_given_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    given = next(free_ports())
    drawn = iter([given, given, given + 1, *range(15_000, 16_000)])
    monkeypatch.setattr("random.randrange", lambda *_: next(drawn))

    assert next(free_ports()) != given

    script = (
        "import sys; from local_stack.ports import _is_ours; sys.exit(_is_ours(int(sys.argv[1])))"
    )
    other = subprocess.run([sys.executable, "-c", script, str(given)], check=False)
    assert other.returncode == 0


def test_free_ports_are_outside_the_range_of_outgoing_connections() -> None:
    start = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert next(free_ports()) < max(start, 32_768)
