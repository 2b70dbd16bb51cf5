"""Reports whose rows a plugin makes."""

from report_worker.reports.plugins.running import write_plugin_report

__all__ = ["write_plugin_report"]
