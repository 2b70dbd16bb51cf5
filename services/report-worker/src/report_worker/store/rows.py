"""Rows of `runs` in the domain's words, and runs as the columns that are stored of them."""

from collections.abc import Sequence
from typing import Final

from asyncpg import Record
from pydantic import ValidationError

from report_worker.domain import Attempt, NewRun, RunFields, WaitingRun
from shared.events import RequestedReport
from shared.job_id import JobId

COLUMNS: Final = (
    "job_id, run, tenant, created_at, report_type, format, request, traceparent, start_by"
)
"""What is stored of a new run."""

COLUMN_TYPES: Final = (
    "text", "int", "text", "timestamptz", "text", "text", "text", "text", "timestamptz",
)  # fmt: skip


def columns(runs: Sequence[NewRun]) -> tuple[list[object], ...]:
    """Return the values of `COLUMNS`, column by column."""
    return (
        [r.job_id for r in runs],
        [r.run for r in runs],
        [r.tenant for r in runs],
        [r.created_at for r in runs],
        [r.report_type for r in runs],
        [r.format for r in runs],
        [r.request.model_dump_json(by_alias=True) if r.request else None for r in runs],
        [r.traceparent for r in runs],
        [r.start_by for r in runs],
    )


def parameters(*, first: int) -> str:
    """Return the parameters of a statement that hold `COLUMNS`, from number `first` on."""
    return ", ".join(f"${number}::{name}[]" for number, name in enumerate(COLUMN_TYPES, first))


def attempt_of(row: Record) -> Attempt:
    """Read a run that an attempt is going on for."""
    return Attempt(
        **_run_fields(row),
        attempt=row["attempt"],
        token=row["token"],
        started_at=row["started_at"],
        failures=row["failures"],
        losses=row["losses"],
    )


def waiting_run_of(row: Record) -> WaitingRun:
    """Read a run that waits; the attempts of the job's earlier runs are none of its own."""
    return WaitingRun(**_run_fields(row), attempt=row["attempt"] if row["started_at"] else 0)


def _run_fields(row: Record) -> RunFields:
    return RunFields(
        job_id=JobId(row["job_id"]),
        run=row["run"],
        tenant=row["tenant"],
        created_at=row["created_at"],
        report_type=row["report_type"],
        format=row["format"],
        request=_request(row["request"]),
        traceparent=row["traceparent"],
    )


def _request(stored: str) -> RequestedReport | None:
    try:
        return RequestedReport.model_validate_json(stored)
    except ValidationError:
        return None
