"""What the gateway reads: the projector's read model and the artifact store."""

from gateway.store.artifacts import ArtifactStore, OpenArtifact
from gateway.store.read_model import ReadModel

__all__ = ["ArtifactStore", "OpenArtifact", "ReadModel"]
