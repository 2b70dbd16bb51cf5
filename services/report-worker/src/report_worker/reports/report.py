"""What is asked of a report's generation, and what comes of it."""

import re
from dataclasses import dataclass
from datetime import datetime

from shared.catalogue import ReportType
from shared.report_request import ReportFormat, ReportRequest

MEDIA_TYPES = {
    ReportFormat.CSV: "text/csv; charset=utf-8; header=present",
    ReportFormat.JSON: "application/json",
    ReportFormat.NDJSON: "application/x-ndjson",
    ReportFormat.PDF: "application/pdf",
    ReportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True, slots=True)
class ReportSpec:
    """One report to make: an admitted request with its type, and the time that stands on it."""

    report_type: ReportType
    request: ReportRequest
    generated_at: datetime

    @property
    def file_name(self) -> str:
        """What the file is called where a person saves it: type, period, format."""
        name = re.sub(r"[^a-z0-9]+", "-", self.report_type.name.lower()).strip("-")
        dates = self.request.date_range
        return f"{name}_{dates.from_date}_{dates.to_date}.{self.request.format.lower()}"


@dataclass(frozen=True, slots=True)
class GeneratedReport:
    """One report's file as it lies in the artifact store."""

    path: str
    file_name: str
    media_type: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds that a step outside may take; the query's stands in its type."""

    store: float = 60.0
