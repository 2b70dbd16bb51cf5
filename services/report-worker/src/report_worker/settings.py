"""Settings of the report-worker, from `REPORT_WORKER_*` and the shared groups."""

from functools import cached_property
from typing import Annotated, Self

from pydantic import ByteSize, Field, PostgresDsn, SecretStr, TypeAdapter, model_validator
from pydantic_settings import SettingsConfigDict

from shared.commands import ServiceSettings
from shared.settings import Seconds

_SOURCES = TypeAdapter(dict[str, PostgresDsn])


class Settings(ServiceSettings):
    """What the report-worker alone needs to know; durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix="REPORT_WORKER_")

    port: Annotated[int, Field(ge=0, le=65535)] = 8081
    sources: SecretStr
    """JSON object: name of a data source in the catalogue -> its Postgres URL."""
    slots: Annotated[int, Field(ge=1, le=256)] = 4
    """Jobs that run at once, each in a child process of its own."""
    child_memory: Annotated[ByteSize, Field(ge=256 * 1024**2)] = ByteSize(1024**3)
    """Memory that one of them may use, in bytes or as 1GiB, before it is ended."""
    lease: Seconds = 30.0
    """How long a worker that fell silent keeps its jobs."""
    beat: Seconds = 1.0
    """How often leases are renewed and lost ones looked for."""
    tenant_limit: Annotated[int, Field(ge=1)] | None = None
    """Jobs of one tenant that run at once, over all workers; no limit unless it is set."""
    max_failures: Annotated[int, Field(ge=1)] = 5
    """Attempts of one run that may fail for a passing reason before the run fails."""
    max_losses: Annotated[int, Field(ge=1)] = 3
    """Attempts of one run whose worker or child may be lost before the run fails."""
    retry_first: Seconds = 1.0
    retry_longest: Seconds = 60.0
    drain: Seconds = 20.0
    """How long a stopping worker lets its jobs run on before it gives them back."""

    sweep_every: Seconds = 600.0
    """From one look through the artifact store for files that nobody can ask for to the next."""
    sweep_grace: Seconds = 3600.0
    """How long a file that looks like one may still be written to, and is left alone."""

    @property
    def grace(self) -> float:
        """How long after an outage of the database nobody is reaped: a beat that hangs in an
        attempt to connect, and the beats around it.
        """  # noqa: D205 - one sentence, two lines
        return 2 * self.beat + self.database_connect_timeout

    @model_validator(mode="after")
    def _beats_fit_into_a_lease(self) -> Self:
        if self.lease < 3 * self.beat:
            raise ValueError("lease must be at least three times beat")
        return self

    @cached_property
    def source_urls(self) -> dict[str, str]:
        """The data sources by name. Raises ValueError where the setting is no such object."""
        urls = _SOURCES.validate_json(self.sources.get_secret_value())
        return {name: str(url) for name, url in urls.items()}
