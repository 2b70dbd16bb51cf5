"""Settings of the gateway, from `GATEWAY_*`; durations are in seconds."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from shared.commands import ServiceSettings
from shared.settings import Seconds


class Settings(ServiceSettings):
    """What the gateway alone needs to know."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    port: Annotated[int, Field(ge=0, le=65535)] = 8080
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

    @property
    def url_lifetime(self) -> timedelta | None:
        """The lifetime of the store's URLs, None where none are made."""
        return (
            timedelta(seconds=self.download_url_lifetime) if self.downloads == "redirect" else None
        )

    @model_validator(mode="after")
    def _strangers_are_kept_out(self) -> Self:
        if not self.allow_unauthenticated_remote and not _is_loopback(self.host):
            raise ValueError(
                f"GATEWAY_HOST={self.host} would serve other hosts, and there is no"
                " authentication. Bind 127.0.0.1, or set GATEWAY_ALLOW_UNAUTHENTICATED_REMOTE=true"
                " if something in front of the gateway keeps strangers out."
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
