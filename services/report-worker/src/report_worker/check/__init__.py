"""Checks of the catalogue beyond its files: the plugins and the databases that they name."""

from report_worker.check.plugins import plugin_mistakes
from report_worker.check.sources import source_mistakes

__all__ = ["plugin_mistakes", "source_mistakes"]
