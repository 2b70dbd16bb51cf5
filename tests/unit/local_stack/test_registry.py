import shlex
import stat
import subprocess
from pathlib import Path

from local_stack.identity import ProcessIdentity
from local_stack.registry import (
    load_processes,
    read_environment,
    render_environment,
    save_environment,
    save_processes,
    variable,
)

_IDENTITIES = {"report-worker": ProcessIdentity(pid=42, start_time=7, boot="b")}


def test_environment_names_addresses_and_process_ids() -> None:
    text = render_environment({"GATEWAY_URL": "http://127.0.0.1:8080"}, _IDENTITIES)

    assert text == "GATEWAY_URL=http://127.0.0.1:8080\nREPORT_WORKER_PID=42\n"


def test_environment_survives_a_shell_whatever_the_values_hold(tmp_path: Path) -> None:
    url = "postgresql://u:p$(touch x);'\" @h/db"
    path = tmp_path / "stack.env"
    save_environment(path, {"DATABASE_URL": url}, {})

    script = f'. {shlex.quote(str(path))}; printf %s "$DATABASE_URL"'
    shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)

    assert shell.stdout.decode() == url
    assert read_environment(path) == {"DATABASE_URL": url}


def test_environment_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    save_environment(tmp_path / "stack.env", {}, {})

    assert stat.S_IMODE((tmp_path / "stack.env").stat().st_mode) == 0o600


def test_processes_are_remembered(tmp_path: Path) -> None:
    save_processes(tmp_path / "processes.json", _IDENTITIES)

    assert load_processes(tmp_path / "processes.json") == _IDENTITIES
    assert load_processes(tmp_path / "absent.json") == {}


def test_variable_of_a_process() -> None:
    assert variable("report-worker", "PID") == "REPORT_WORKER_PID"
