"""Finding a plugin among the entry points of what is installed."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from report_worker.plugins import ENTRY_POINTS, ReportPlugin


class PluginUnusableError(Exception):
    """A plugin isn't installed, can't be imported, or is none; the message says which."""


def load_plugin(name: str) -> ReportPlugin[Any]:
    """Import a plugin. Raises `PluginUnusableError`."""
    found = _entry_point(name)
    try:
        plugin = found.load()
    except (Exception, SystemExit) as error:
        reason = f"{found.value} can't be imported: {type(error).__name__}: {error}"
        raise PluginUnusableError(reason) from error
    if not isinstance(plugin, ReportPlugin):
        raise PluginUnusableError(
            f"{found.value} is of type {type(plugin).__name__}, and has to be a ReportPlugin"
        )
    return plugin


def _entry_point(name: str) -> EntryPoint:
    offered = {found.name: found for found in entry_points(group=ENTRY_POINTS)}
    matching = {found.value: found for found in entry_points(group=ENTRY_POINTS, name=name)}
    match list(matching.values()):
        case [found]:
            return found
        case []:
            known = (
                f"installed are {', '.join(sorted(offered))}" if offered else "none is installed"
            )
            raise PluginUnusableError(
                f"no installed package offers {name} in the entry points {ENTRY_POINTS}; {known}"
            )
        case _:
            raise PluginUnusableError(f"{name} is offered twice: {' and '.join(sorted(matching))}")
