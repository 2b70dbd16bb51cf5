import json
from pathlib import Path

from local_stack.ports import Ports
from local_stack.servers import External, external_servers


def test_servers_of_the_environment_are_used(tmp_path: Path) -> None:
    caller = {"KAFKA_BOOTSTRAP_SERVERS": "k:9092", "DATABASE_URL": "postgresql://a@db:5432/x"}

    external = external_servers(caller, Ports(tmp_path / "ports.json"))

    assert external == External(kafka="k:9092", database="postgresql://a@db:5432/x")


def test_empty_variables_name_no_servers(tmp_path: Path) -> None:
    caller = {"KAFKA_BOOTSTRAP_SERVERS": "", "DATABASE_URL": ""}

    assert external_servers(caller, Ports(tmp_path / "ports.json")) == External(None, None)


def test_shell_that_sourced_stack_env_names_no_other_servers(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.write_text(json.dumps({"kafka": 20_001, "postgres": 20_002}))
    caller = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:20001",
        "DATABASE_URL": "postgresql://postgres:pw@127.0.0.1:20002/report_jobs",
    }

    assert external_servers(caller, Ports(path)) == External(None, None)
