"""The projector's use cases: keep the read model, and check it."""

from status_projector.service.projection import Projector
from status_projector.service.verification import Verdict, verify

__all__ = ["Projector", "Verdict", "verify"]
