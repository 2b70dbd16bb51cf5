"""Settings of the status-projector, from `STATUS_PROJECTOR_*` and the shared groups."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.commands import ServiceSettings


class Settings(ServiceSettings):
    """What the status-projector alone needs to know."""

    model_config = SettingsConfigDict(env_prefix="STATUS_PROJECTOR_")

    port: Annotated[int, Field(ge=0, le=65535)] = 8082
    max_batch: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Events folded in one transaction at most."""
    patience: Annotated[float, Field(ge=0, le=1)] = 0.04
    """Seconds that news of a job's beginning waits for more of it: a short job is folded once. Its
    end, and what clients ask to be done, is folded at once."""
    verify_wait: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that `verify` gives the projector to reach the end of the log."""
