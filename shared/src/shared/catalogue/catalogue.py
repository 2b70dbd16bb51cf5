"""The report types that this deployment offers, by name."""

from collections.abc import Iterable, Iterator

from shared.catalogue.report_type import ReportType
from shared.report_request import ReportRequest, Violation


class Catalogue:
    """Report types with distinct names, in the order of their names."""

    def __init__(self, report_types: Iterable[ReportType]) -> None:
        by_name = sorted(report_types, key=lambda report_type: report_type.name)
        self._by_name = {report_type.name: report_type for report_type in by_name}

    def __iter__(self) -> Iterator[ReportType]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> ReportType | None:
        """Find a report type."""
        return self._by_name.get(name)

    def violations(self, request: ReportRequest) -> list[Violation]:
        """Say why the request is refused; an empty list admits it."""
        report_type = self.get(request.report_type)
        if report_type is not None:
            return report_type.violations(request)
        return [
            Violation(
                field="/reportType",
                code="UNKNOWN_REPORT_TYPE",
                message=f"is not one of {', '.join(self._by_name)}",
            )
        ]
