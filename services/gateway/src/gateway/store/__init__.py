"""What the gateway keeps, its idempotency keys, and what it reads: read model and artifacts."""

from gateway.store.artifacts import ArtifactStore, OpenArtifact
from gateway.store.idempotency_keys import IdempotencyKeys
from gateway.store.read_model import ReadModel

__all__ = ["ArtifactStore", "IdempotencyKeys", "OpenArtifact", "ReadModel"]
