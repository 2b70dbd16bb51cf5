import json
from pathlib import Path

import pytest

from local_stack.bootstrap import ROLES
from local_stack.configuration import Addresses, generated_keys, service_environment
from local_stack.paths import StackDirectory
from local_stack.services import SERVICES, Service
from shared.keyring import KeyRing

_ADDRESSES = Addresses(
    kafka="127.0.0.1:20001",
    database="postgresql://postgres:admin-secret@127.0.0.1:20002/report_jobs",
    roles={role: f"postgresql://{role}:pw-{role}@127.0.0.1:20002/report_jobs" for role in ROLES},
)
_PORTS = {service.name: 20_010 + position for position, service in enumerate(SERVICES)}
_BY_NAME = {service.name: service for service in SERVICES}


def _environment(caller: dict[str, str], service: Service = _BY_NAME["notifier"]) -> dict[str, str]:
    return service_environment(
        service,
        directory=StackDirectory(Path("/stack")),
        addresses=_ADDRESSES,
        ports=_PORTS,
        keys={"JOB_ID_KEYS": "1:generated"},
        caller=caller,
    )


def test_callbacks_may_reach_loopback_unless_strict() -> None:
    assert _environment({})["CALLBACK_ALLOWED_NETWORKS"] == "127.0.0.0/8,::1/128"
    assert _environment({"NOTIFIER_STRICT": "0"})["CALLBACK_ALLOWED_NETWORKS"] != ""
    assert _environment({"NOTIFIER_STRICT": "1"})["CALLBACK_ALLOWED_NETWORKS"] == ""


def test_strict_wins_over_networks_that_were_asked_for() -> None:
    caller = {"NOTIFIER_STRICT": "1", "CALLBACK_ALLOWED_NETWORKS": "10.0.0.0/8"}

    assert _environment(caller)["CALLBACK_ALLOWED_NETWORKS"] == ""


def test_what_the_caller_sets_wins_over_what_was_generated() -> None:
    assert _environment({})["JOB_ID_KEYS"] == "1:generated"
    assert _environment({"JOB_ID_KEYS": "2:own"})["JOB_ID_KEYS"] == "2:own"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_service_gets_its_own_database_role_and_no_other(service: Service) -> None:
    environment = _environment({"DATABASE_URL": _ADDRESSES.database}, service)

    assert environment[service.setting("DATABASE_URL")] == _ADDRESSES.roles[service.role]
    others = [role for role in ROLES if role not in {service.role, "report_source"}]
    text = json.dumps(environment)
    assert "admin-secret" not in text
    assert not [role for role in others if f"pw-{role}@" in text]


def test_service_talks_to_the_stack_whatever_the_shell_exports() -> None:
    environment = _environment(
        {"KAFKA_BOOTSTRAP_SERVERS": "other:9092", "NOTIFIER_PORT": "9"}, _BY_NAME["notifier"]
    )

    assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:20001"
    assert environment["NOTIFIER_PORT"] == str(_PORTS["notifier"])


def test_generated_keys_are_valid_and_kept(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)

    keys = generated_keys(directory)

    assert generated_keys(directory) == keys
    assert KeyRing.parse(keys["JOB_ID_KEYS"]).signing_number == 1
    assert KeyRing.parse(keys["LINK_KEYS"]).keys != KeyRing.parse(keys["JOB_ID_KEYS"]).keys
    assert keys["NOTIFIER_SIGNING_SECRETS"].startswith("whsec_")
