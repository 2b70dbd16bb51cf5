"""Making reports: runs inside the killable child process, one job at a time."""

from report_worker.object_store import open_store
from report_worker.reports.artifacts import discard_artifact
from report_worker.reports.errors import ErrorCode, ReportError
from report_worker.reports.generation import generate
from report_worker.reports.progress import ProgressReporter
from report_worker.reports.report import GeneratedReport, ReportSpec, TimeLimits
from report_worker.reports.sessions import SourceSessions, pass_over_abandoned_copies
from report_worker.reports.storable import storable

__all__ = [
    "ErrorCode",
    "GeneratedReport",
    "ProgressReporter",
    "ReportError",
    "ReportSpec",
    "SourceSessions",
    "TimeLimits",
    "discard_artifact",
    "generate",
    "open_store",
    "pass_over_abandoned_copies",
    "storable",
]
