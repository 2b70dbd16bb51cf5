"""What the gateway keeps, its keys of both kinds, and what it reads from others."""

from gateway.store.api_keys import API_KEYS_CHANNEL, ApiKeyStore
from gateway.store.artifacts import ArtifactStore, OpenArtifact
from gateway.store.idempotency_keys import IdempotencyKeys
from gateway.store.issuer import OpenIdProvider, is_loopback, is_trustworthy
from gateway.store.read_model import CHANGED_CHANNEL, ReadModel

__all__ = [
    "API_KEYS_CHANNEL",
    "CHANGED_CHANNEL",
    "ApiKeyStore",
    "ArtifactStore",
    "IdempotencyKeys",
    "OpenArtifact",
    "OpenIdProvider",
    "ReadModel",
    "is_loopback",
    "is_trustworthy",
]
