"""Settings that several services share, read from the environment, one group per subject."""

from datetime import timedelta
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PostgresDsn, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.keyring import KeyRing


def _key_ring(text: SecretStr) -> SecretStr:
    KeyRing.parse(text.get_secret_value())
    return text


def _no_trailing_slash(url: str) -> str:
    return url.rstrip("/")


def _networks(text: str) -> str:
    for entry in filter(None, (part.strip() for part in text.split(","))):
        ip_network(entry)
    return text


Seconds = Annotated[float, Field(gt=0)]
KeyRingText = Annotated[SecretStr, AfterValidator(_key_ring)]


class SettingsGroup(BaseSettings):
    """Base of all settings: frozen, and values never appear in a validation error."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore")


class KafkaSettings(SettingsGroup):
    """Where the broker is and what this installation's topics are called."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap_servers: str
    topic_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,64}$")] = ""
    """Put before every topic and group name, so that installations can share a broker."""
    replication_factor: Annotated[int, Field(ge=1)] = 1
    """Used only when topics are created; 3 in production."""
    publish_timeout: Seconds = 5.0
    """How long a publisher waits for the acknowledgement of all in-sync replicas."""
    request_timeout: Seconds = 10.0
    connect_retry_longest: Seconds = 5.0

    def topic(self, name: str) -> str:
        """Return the name of a topic or group on the broker."""
        return self.topic_prefix + name


class DatabaseSettings(SettingsGroup):
    """Connections to the service's own Postgres schema; each service adds its env prefix."""

    database_url: Annotated[PostgresDsn, Field(repr=False)]
    database_pool_size: Annotated[int, Field(ge=1)] = 8
    database_queue: Annotated[int, Field(ge=0)] = 1000
    """How many may wait for a connection; further ones fail at once."""
    database_connect_timeout: Seconds = 5.0
    database_command_timeout: Seconds = 30.0
    """Upper limit for one statement, kept by the client and by the server."""


class ServerSettings(SettingsGroup):
    """The HTTP port of a service; each service adds its env prefix and default port."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    shutdown_grace: Seconds = 10.0
    max_connections: Annotated[int, Field(ge=1)] = 5000
    """More are refused with 503, but for the probes; fewer where the process may not open as many
    files."""
    max_head_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024
    """All header lines of a request together."""
    max_url_bytes: Annotated[int, Field(ge=256)] = 8 * 1024
    head_timeout: Seconds = 10.0
    """How long a client may take to send a request's head."""


class RetentionSettings(SettingsGroup):
    """How long a job lives; the same in every service."""

    report_retention: timedelta = timedelta(days=7)
    """From a job's creation to the expiry of its row, artifact and link."""


class JobSettings(RetentionSettings):
    """What a job's identity and life depend on; the same in every service."""

    job_id_keys: Annotated[KeyRingText, NoDecode]

    @cached_property
    def key_ring(self) -> KeyRing:
        """The keys that certify job ids."""
        return KeyRing.parse(self.job_id_keys.get_secret_value())


class LinkSettings(SettingsGroup):
    """What signed download links depend on."""

    link_keys: Annotated[KeyRingText, NoDecode]
    public_url: Annotated[str, AfterValidator(_no_trailing_slash)] = "http://127.0.0.1:8080"
    """How clients reach the gateway from outside, scheme and host included."""

    @cached_property
    def key_ring(self) -> KeyRing:
        """The keys that sign links."""
        return KeyRing.parse(self.link_keys.get_secret_value())


class CatalogueSettings(SettingsGroup):
    """Where the report types are."""

    catalogue_dir: Path


class ArtifactSettings(SettingsGroup):
    """Where the report files are: `file:///...` or the URL of an object store."""

    artifacts_url: str


class CallbackSettings(SettingsGroup):
    """Exceptions from the addresses that webhooks never reach."""

    callback_allowed_networks: Annotated[str, AfterValidator(_networks)] = ""
    """Comma-separated networks that are admitted although the policy denies them."""

    @cached_property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The admitted networks."""
        entries = (part.strip() for part in self.callback_allowed_networks.split(","))
        return tuple(ip_network(entry) for entry in entries if entry)


class LogSettings(SettingsGroup):
    """How much is logged."""

    log_level: Annotated[str, Field(pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
