"""Settings of the notifier, from `NOTIFIER_*`."""

from datetime import timedelta
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from notifier.client import ClientLimits
from notifier.domain import RetrySchedule
from notifier.signing import SigningKey, parse_signing_keys
from shared.commands import ServiceSettings
from shared.settings import Seconds

_LEASE_MARGIN = 5.0


def _secrets(text: SecretStr) -> SecretStr:
    parse_signing_keys(text.get_secret_value())
    return text


class Settings(ServiceSettings):
    """What the notifier alone needs to know; durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix="NOTIFIER_")

    port: Annotated[int, Field(ge=0, le=65535)] = 8083
    signing_secrets: Annotated[SecretStr, NoDecode, AfterValidator(_secrets)]
    """Comma-separated `whsec_...` secrets; all of them sign, so that they can be rotated."""
    retry_delays: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = tuple(
        delay.total_seconds() for delay in RetrySchedule().delays
    )
    """JSON list: the wait before each attempt, the first included."""
    retry_jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Up to this share is added to each wait."""
    slots: Annotated[int, Field(ge=1, le=4096)] = 256
    """Webhooks that this process sends at once."""
    slots_per_destination: Annotated[int, Field(ge=1)] = 16
    """Webhooks that one server is sent at once, over all notifiers."""
    gather: Annotated[float, Field(ge=0, le=1)] = 0.05
    """How long to leave the log alone after each look that found something, so that the ends of
    more runs gather; a webhook is that much later at most."""
    lease: Seconds = 30.0
    """How long a notifier that fell silent keeps its attempts."""
    poll: Seconds = 5.0
    """How often to look for what another notifier left behind."""
    dns_timeout: Seconds = 3.0
    connect_timeout: Seconds = 5.0
    total_timeout: Seconds = 15.0
    drain: Seconds = 20.0
    """How long a stopping notifier waits for what it is sending."""

    @model_validator(mode="after")
    def _lease_outlives_an_attempt(self) -> Self:
        if self.lease < self.total_timeout + _LEASE_MARGIN:
            raise ValueError(f"lease must exceed total_timeout by {_LEASE_MARGIN:g} s or more")
        return self

    @property
    def schedule(self) -> RetrySchedule:
        """When attempts are made."""
        delays = tuple(timedelta(seconds=seconds) for seconds in self.retry_delays)
        return RetrySchedule(delays, self.retry_jitter)

    @property
    def limits(self) -> ClientLimits:
        """What one attempt may take."""
        return ClientLimits(self.dns_timeout, self.connect_timeout, self.total_timeout)

    @cached_property
    def signing_keys(self) -> tuple[SigningKey, ...]:
        """The live keys."""
        return parse_signing_keys(self.signing_secrets.get_secret_value())
