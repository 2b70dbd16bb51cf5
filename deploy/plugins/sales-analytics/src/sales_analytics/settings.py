"""Where the exchange rates are, and how patiently they are asked for."""

from typing import Annotated

from pydantic import Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]


class RatesSettings(BaseSettings):
    """Read from `SALES_ANALYTICS_RATES_*` in the worker's environment."""

    model_config = SettingsConfigDict(
        env_prefix="SALES_ANALYTICS_RATES_", frozen=True, hide_input_in_errors=True
    )

    url: HttpUrl
    timeout: Seconds = 5.0
    """How long one request may take, from the connection to the last byte."""
    tries: Annotated[int, Field(ge=1)] = 5
    """How often a month's rates are asked for before the attempt is given up."""
    backoff_first: Seconds = 0.2
    backoff_longest: Seconds = 5.0
    concurrency: Annotated[int, Field(ge=1)] = 4
    """Requests at a time."""
