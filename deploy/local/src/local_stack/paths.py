"""Where the local stack keeps things: what a checkout shares, and what one stack owns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[4]
"""The root of the repository; the package is always run from an editable install of it."""

LOCAL: Final = CHECKOUT / ".local"
"""Everything that a make target downloads or writes, ignored by git."""

DEFINITIONS: Final = CHECKOUT / "deploy" / "local"
"""pom.xml and the broker's log configuration."""

POSTGRES_DEFINITIONS: Final = CHECKOUT / "deploy" / "postgres"
"""The SQL that makes roles and schemas."""

CATALOGUE: Final = CHECKOUT / "deploy" / "catalogue"
"""The shipped report types."""


@dataclass(frozen=True, slots=True)
class StackDirectory:
    """The files of one stack: `.local` for `make up`, a temporary folder for a test's stack."""

    root: Path

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.root / "logs"

    @property
    def kafka(self) -> Path:
        """The broker's configuration and data."""
        return self.root / "kafka-data"

    @property
    def postgres(self) -> Path:
        """The database's password and data."""
        return self.root / "postgres-data"

    @property
    def artifacts(self) -> Path:
        """The generated reports."""
        return self.root / "artifacts"

    @property
    def ports(self) -> Path:
        """The chosen ports, so that a restart keeps its addresses."""
        return self.root / "ports.json"

    @property
    def keys(self) -> Path:
        """The generated keys, readable by the owner alone."""
        return self.root / "keys.json"

    @property
    def environment(self) -> Path:
        """Addresses and process ids, to be sourced by a shell."""
        return self.root / "stack.env"

    @property
    def processes(self) -> Path:
        """The identities of the running processes, for whoever has to clean up after a crash."""
        return self.root / "processes.json"

    @property
    def supervisor(self) -> Path:
        """The identity of the supervisor, for whoever has to stop it."""
        return self.root / "supervisor.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.root / "supervisor.lock"

    def log(self, name: str) -> Path:
        """Return the log file of one process."""
        return self.logs / f"{name}.log"
