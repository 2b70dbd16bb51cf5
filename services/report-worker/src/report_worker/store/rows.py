"""What a row of `runs` says, in the domain's words."""

from asyncpg import Record
from pydantic import ValidationError

from report_worker.domain import Attempt, Run, WaitingRun
from shared.events import RequestedReport
from shared.job_id import JobId


def attempt_of(row: Record) -> Attempt:
    """Read a run that an attempt is going on for."""
    return Attempt(
        job_id=JobId(row["job_id"]),
        run=row["run"],
        tenant=row["tenant"],
        created_at=row["created_at"],
        report_type=row["report_type"],
        format=row["format"],
        request=_request(row["request"]),
        traceparent=row["traceparent"],
        attempt=row["attempt"],
        token=row["token"],
        started_at=row["started_at"],
        failures=row["failures"],
        losses=row["losses"],
    )


def waiting_run_of(row: Record) -> WaitingRun:
    """Read a run that waits; the attempts of the job's earlier runs are none of its own."""
    return WaitingRun(
        job_id=JobId(row["job_id"]),
        run=row["run"],
        tenant=row["tenant"],
        created_at=row["created_at"],
        report_type=row["report_type"],
        format=row["format"],
        request=_request(row["request"]),
        traceparent=row["traceparent"],
        attempt=row["attempt"] if row["started_at"] else 0,
    )


def stored_request(run: Run) -> str | None:
    """Spell a run's request as its row keeps it."""
    return run.request.model_dump_json(by_alias=True) if run.request else None


def _request(stored: str) -> RequestedReport | None:
    try:
        return RequestedReport.model_validate_json(stored)
    except ValidationError:
        return None
