"""Reports whose rows a plugin makes: found, held against their report type, and run."""

from report_worker.reports.plugins.agreement import Disagreement, disagreements
from report_worker.reports.plugins.loading import PluginUnusableError, load_plugin
from report_worker.reports.plugins.running import write_plugin_report

__all__ = [
    "Disagreement",
    "PluginUnusableError",
    "disagreements",
    "load_plugin",
    "write_plugin_report",
]
