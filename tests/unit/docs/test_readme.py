import re
import shutil
from datetime import date
from pathlib import Path

from shared.catalogue import load_catalogue
from shared.report_request import DateRange, ReportFormat, ReportRequest

ROOT = Path(__file__).parents[3]


def test_the_documented_report_type_is_valid_beside_the_shipped_ones(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert example
    catalogue_dir = tmp_path / "catalogue"
    shutil.copytree(ROOT / "deploy" / "catalogue", catalogue_dir)
    (catalogue_dir / "orders-by-channel.yaml").write_text(example[1])

    catalogue = load_catalogue(catalogue_dir)

    request = ReportRequest(
        report_type="ORDERS_BY_CHANNEL",
        date_range=DateRange(from_date=date(2024, 1, 1), to_date=date(2024, 1, 31)),
        format=ReportFormat.PDF,
        parameters={"currency": "EUR"},
    )
    assert catalogue.violations(request) == []


def test_every_path_that_the_documents_link_to_is_there() -> None:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    missing = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text())
        if not (document.parent / target).exists()
    ]

    assert missing == []
