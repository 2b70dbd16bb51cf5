"""What the services of a local stack are told: addresses, generated keys, and defaults."""

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from local_stack.bootstrap import SOURCE_ROLE
from local_stack.files import read_or_create
from local_stack.paths import CATALOGUE, StackDirectory
from local_stack.ports import LOOPBACK
from local_stack.services import Service

LOOPBACK_NETWORKS: Final = "127.0.0.0/8,::1/128"
"""What callbacks may reach locally although the policy forbids it."""

_KEY_BYTES: Final = 32
_OURS_ALONE: Final = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
"""What a service never inherits: the administrator's access, and an address of another stack."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers of a stack are."""

    kafka: str
    database: str
    """The administrator's URL of the stack's database."""
    roles: Mapping[str, str]
    """The connection URL of each role."""


def generated_keys(
    directory: StackDirectory, token_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> dict[str, str]:
    """Return the stack's keys as environment variables, made on the first call and then kept."""

    def create() -> str:
        job_ids, links, webhooks = (
            base64.b64encode(token_bytes(_KEY_BYTES)).decode() for _ in range(3)
        )
        keys = {
            "JOB_ID_KEYS": f"1:{job_ids}",
            "LINK_KEYS": f"1:{links}",
            "NOTIFIER_SIGNING_SECRETS": f"whsec_{webhooks}",
        }
        return json.dumps(keys, indent=2) + "\n"

    keys: dict[str, str] = json.loads(read_or_create(directory.keys, create))
    return keys


def service_environment(
    service: Service,
    *,
    directory: StackDirectory,
    addresses: Addresses,
    ports: Mapping[str, int],
    keys: Mapping[str, str],
    caller: Mapping[str, str],
) -> dict[str, str]:
    """Return a service's environment: what the stack decides, below what the caller has set.

    The caller's `NOTIFIER_STRICT=1` closes the loopback addresses to callbacks.
    """
    strict = caller.get("NOTIFIER_STRICT", "") not in {"", "0"}
    decided = {
        "REPORT_RETENTION": "P7D",
        "PUBLIC_URL": f"http://{LOOPBACK}:{ports['gateway']}",
        "CATALOGUE_DIR": str(CATALOGUE),
        "ARTIFACTS_URL": directory.artifacts.as_uri(),
        "CALLBACK_ALLOWED_NETWORKS": LOOPBACK_NETWORKS,
        "REPORT_WORKER_SOURCES": json.dumps({"orders": addresses.roles[SOURCE_ROLE]}),
        **keys,
        service.setting("HOST"): LOOPBACK,
        service.setting("DATABASE_URL"): addresses.roles[service.role],
    }
    if "rates" in ports:
        decided["SALES_ANALYTICS_RATES_URL"] = f"http://{LOOPBACK}:{ports['rates']}/"
    inherited = {name: value for name, value in caller.items() if name not in _OURS_ALONE}
    fixed = {
        "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
        service.setting("PORT"): str(ports[service.name]),
        **({"CALLBACK_ALLOWED_NETWORKS": ""} if strict else {}),
    }
    return decided | inherited | fixed
