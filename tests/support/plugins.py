"""Plugins that tests write: as installed as any, in a folder on the module path."""

from pathlib import Path
from textwrap import dedent
from typing import Any

from report_worker.plugins import ENTRY_POINTS

DECLARED: dict[str, Any] = {
    "name": "TESTED",
    "title": "Tested",
    "plugin": "tested",
    "columns": [
        {"name": "day", "title": "Day", "type": "date"},
        {"name": "total", "title": "Total", "type": "decimal", "scale": 2},
    ],
}
"""A report type that `PLUGIN` makes."""

PLUGIN = """
from datetime import date
from decimal import Decimal

from report_worker.plugins import ReportPlugin

async def rows(report):
    yield [(report.from_date, Decimal("1.50")), (report.to_date, None)]

plugin = ReportPlugin(rows, columns=("day", "total"))
"""


def install_plugin(folder: Path, code: str = PLUGIN, *, name: str = "tested") -> None:
    """Install a distribution into the folder, whose module names a plugin `plugin`."""
    module = f"plugin_{name}"
    (folder / f"{module}.py").write_text(dedent(code))
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{name} = {module}:plugin\n")
