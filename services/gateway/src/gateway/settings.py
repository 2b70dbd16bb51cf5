"""Settings of the gateway, from `GATEWAY_*`; durations are in seconds."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from gateway.store import is_loopback, is_trustworthy
from shared.commands import ServiceSettings
from shared.settings import Seconds


class Authentication(StrEnum):
    """How callers are told apart."""

    NONE = "none"
    API_KEY = "api-key"
    OIDC = "oidc"


def _listed(value: object) -> object:
    """Take `api-key,oidc` from the environment."""
    if not isinstance(value, str):
        return value
    return frozenset(filter(None, (name.strip() for name in value.split(","))))


class Settings(ServiceSettings):
    """What the gateway alone needs to know."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    auth: Annotated[frozenset[Authentication], NoDecode, BeforeValidator(_listed)] = frozenset(
        {Authentication.NONE}
    )
    """Who is let in: `none` (everybody, as one tenant), or `api-key`, `oidc`, or both of these,
    separated by a comma."""
    api_keys_refresh: Seconds = 5.0
    """How often the API keys are read again; a change is told at once, unless that is missed."""
    oidc_issuer: str = ""
    """The OpenID provider whose access tokens are taken, as its tokens name it."""
    oidc_audience: str = ""
    """What the tokens' `aud` must hold: the name of this API there."""
    oidc_tenant_claim: str = "tenant"
    """The claim that names the tenant."""
    oidc_leeway: Annotated[int, Field(ge=0, le=300)] = 30
    """How many seconds the provider's clock may differ."""
    oidc_timeout: Seconds = 5.0
    """How long fetching the provider's keys may take."""
    oidc_refresh: Seconds = 300.0
    """How often its keys are fetched; unknown ones are asked for at once."""
    submit_rate: Annotated[float, Field(ge=0)] = 1000.0
    """Requests per second of a tenant that change something, in the long run; 0: no limit. Each
    gateway process counts for itself."""
    submit_burst: Annotated[int, Field(ge=1)] = 5000
    """As many of them may come at once."""
    read_rate: Annotated[float, Field(ge=0)] = 2000.0
    """The same for requests that only look."""
    read_burst: Annotated[int, Field(ge=1)] = 10_000
    max_active_jobs: Annotated[int, Field(ge=0)] = 10_000
    """Jobs of a tenant that haven't ended, over all gateways; 0: no limit."""
    max_publishing: Annotated[int, Field(ge=1)] = 1000
    """Requests of this process that wait for the broker at once; further ones are answered 503."""
    allow_unauthenticated_remote: bool = False
    """Whether other hosts may be served although nobody is asked who they are."""
    database_connect_timeout: Seconds = 2.0
    database_command_timeout: Seconds = 3.0
    body_timeout: Seconds = 10.0
    """How long a client may take to send a request's body."""
    store_timeout: Seconds = 10.0
    """How long the artifact store may take to answer, or to give the next part of a file."""
    client_timeout: Seconds = 30.0
    """How long a client may leave unread what it is sent, before it is cut off."""
    downloads: Literal["redirect", "stream"] = "redirect"
    """Whether clients fetch files from an object store themselves, or through the gateway, where
    they can't reach the store. Files in a folder always come through the gateway."""
    download_url_lifetime: Seconds = 300.0
    """How long the URL works that a client is redirected to; its link makes new ones."""

    longest_wait: Annotated[int, Field(ge=0)] = 60
    """How many seconds a request may prefer to wait for a change of its job."""
    stream_quiet: Seconds = 15.0
    """After how much silence a stream of events shows that it is alive."""
    stream_longest: Seconds = 3600.0
    """How long a stream lives; its client comes back, and is asked again who it is."""
    max_watchers: Annotated[int, Field(ge=1)] = 4000
    """How many clients may follow jobs or wait for changes at the same time; never so many that
    they could take all connections."""
    max_tenant_watchers: Annotated[int, Field(ge=1)] = 2500
    """How many of them may be one tenant's."""

    @property
    def url_lifetime(self) -> timedelta | None:
        """The lifetime of the store's URLs, None where none are made."""
        return (
            timedelta(seconds=self.download_url_lifetime) if self.downloads == "redirect" else None
        )

    def watchers(self, connections: int) -> int:
        """Return how many may wait where so many connections may be open."""
        return min(self.max_watchers, max(connections * 4 // 5, 1))

    @model_validator(mode="after")
    def _authentication_makes_sense(self) -> Self:
        if not self.auth:
            raise ValueError("GATEWAY_AUTH names nothing: say none, api-key, oidc or api-key,oidc")
        if Authentication.NONE in self.auth and len(self.auth) > 1:
            raise ValueError("GATEWAY_AUTH=none lets everybody in: it goes with nothing else")
        if Authentication.OIDC in self.auth:
            _require_provider(self.oidc_issuer, self.oidc_audience)
        return self

    @model_validator(mode="after")
    def _strangers_are_kept_out(self) -> Self:
        if Authentication.NONE not in self.auth:
            return self
        if not self.allow_unauthenticated_remote and not is_loopback(self.host):
            raise ValueError(
                f"GATEWAY_HOST={self.host} would serve other hosts, and there is no"
                " authentication. Set GATEWAY_AUTH, bind 127.0.0.1, or set"
                " GATEWAY_ALLOW_UNAUTHENTICATED_REMOTE=true if something in front of the gateway"
                " keeps strangers out."
            )
        return self


def _require_provider(issuer: str, audience: str) -> None:
    if not is_trustworthy(issuer):
        raise ValueError("GATEWAY_OIDC_ISSUER must be an https URL, or one of this very host")
    if not audience:
        raise ValueError("GATEWAY_OIDC_AUDIENCE must say what this API is called in tokens")
