"""The projector's use cases: keep the read model, purge it, check it and rebuild it."""

from status_projector.service.projection import Projector
from status_projector.service.purging import Purger
from status_projector.service.rebuilding import Rebuilt, rebuild
from status_projector.service.verification import Verdict, verify

__all__ = ["Projector", "Purger", "Rebuilt", "Verdict", "rebuild", "verify"]
