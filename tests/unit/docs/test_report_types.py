"""The guide to report types: its examples work, and it leaves no field out."""

import re
import shutil
from pathlib import Path
from typing import Any

from report_worker.plugins import ReportPlugin
from report_worker.plugins.agreement import disagreements
from shared.catalogue import ReportType, load_catalogue
from shared.catalogue.report_type import Limits

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "report-types.md").read_text()


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found[1]


def test_the_report_type_of_the_guide_is_valid_beside_the_shipped_ones(tmp_path: Path) -> None:
    catalogue_dir = tmp_path / "catalogue"
    shutil.copytree(ROOT / "deploy" / "catalogue", catalogue_dir)
    (catalogue_dir / "orders-by-country.yaml").write_text(example("yaml"))
    assert load_catalogue(catalogue_dir).get("ORDERS_BY_COUNTRY") is not None


def test_the_plugin_of_the_guide_fits_the_report_type_that_would_name_it() -> None:
    module: dict[str, Any] = {}
    exec(compile(example("python"), "guide", "exec"), module)  # noqa: S102 - our own example
    plugin = module["plugin"]
    assert isinstance(plugin, ReportPlugin)
    report_type = ReportType.model_validate(
        {
            "name": "ORDERS",
            "title": "Orders",
            "plugin": "orders",
            "sources": list(plugin.sources),
            "parameters": {"properties": {"currency": {"type": "string", "default": "EUR"}}},
            "columns": [
                {"name": "order_id", "title": "Order", "type": "text"},
                {"name": "amount", "title": "Amount", "type": "decimal"},
            ],
        }
    )
    assert list(disagreements(report_type, plugin)) == []


def test_the_guide_names_every_field() -> None:
    fields = {*ReportType.model_fields} - {"limits", "pdf"}
    fields |= {f"limits.{name}" for name in Limits.model_fields}
    assert sorted(field for field in fields if f"`{field}`" not in GUIDE) == []
