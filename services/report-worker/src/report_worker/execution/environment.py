"""What the processes that run reports inherit of the worker's environment."""

import os
from typing import Final

_WITHHELD: Final = ("REPORT_WORKER_", "JOB_ID_KEYS", "LINK_KEYS")


def child_environment() -> dict[str, str]:
    """Return the parent's environment without the worker's settings, which hold secrets.

    What the object store's client and plugins read from it (credentials, endpoints) stays.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(_WITHHELD)}
