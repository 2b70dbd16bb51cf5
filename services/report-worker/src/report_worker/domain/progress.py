"""What an attempt tells while it runs: that it began, and how far it has come."""

from dataclasses import dataclass
from datetime import timedelta

from report_worker.domain.runs import Attempt, identity
from shared.events import JobProgressed, JobStarted, Progress


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """How far an attempt has come after `took`; `sequence` is higher each time."""

    attempt: Attempt
    progress: Progress
    took: timedelta
    sequence: int


def started(attempt: Attempt, worker: str) -> JobStarted:
    """Tell that an attempt began."""
    return JobStarted(
        **identity(attempt, attempt=attempt.attempt),
        started_at=attempt.started_at,
        worker=worker,
    )


def progressed(report: ProgressReport, worker: str) -> JobProgressed:
    """Tell how far an attempt has come."""
    attempt = report.attempt
    return JobProgressed(
        **identity(attempt, attempt=attempt.attempt),
        sequence=report.sequence,
        started_at=attempt.started_at,
        progressed_at=attempt.started_at + report.took,
        worker=worker,
        progress=report.progress,
    )


def never_back(known: Progress | None, newer: Progress) -> Progress:
    """Return the newer progress, with a percent that isn't below the known one."""
    if known is None or known.percent is None:
        return newer
    return newer.model_copy(update={"percent": max(known.percent, newer.percent or 0)})
