"""Rows of `read_model.jobs` as the gateway's domain has them."""

from typing import Final

import asyncpg

from gateway.domain import (
    Job,
    JobStatus,
    Progress,
    StoredArtifact,
    Vector,
    WebhookOutcome,
)
from shared.job_id import JobId

COLUMNS: Final = """
    j.job_id, j.status, j.run, j.created_at, j.updated_at, j.report_type, j.format,
    j.started_at, j.finished_at, j.error_code, j.error_message, j.retryable, j.row_count,
    j.artifact_path, j.file_name, j.media_type, j.byte_count, j.sha256,
    j.progress_phase, j.progress_percent, j.rows_processed, j.rows_total,
    j.cancel_run, j.webhook_status, j.webhook_attempts, j.webhook_updated_at,
    j.requests_offset, j.events_offset
"""
"""All that a listing shows of a job; `j` is the table."""


def job_of(row: asyncpg.Record, history: str = "{}") -> Job:
    """Return the job of a row that is no tombstone."""
    status = JobStatus(row["status"])
    has_failed = status is JobStatus.FAILED
    return Job(
        job_id=JobId(row["job_id"]),
        status=status,
        run=row["run"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        report_type=row["report_type"],
        format=row["format"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        # While a run goes on, the error of an earlier attempt says nothing about its end.
        error_code=row["error_code"] if has_failed else None,
        error_message=row["error_message"] if has_failed else None,
        retryable=row["retryable"] if has_failed else None,
        row_count=row["row_count"],
        artifact=_artifact(row) if status is JobStatus.COMPLETED else None,
        progress=_progress(row) if status is JobStatus.RUNNING else None,
        # A cancel that a run's end overtook doesn't concern the job any more.
        cancel_requested=row["cancel_run"] == row["run"] and not status.is_terminal,
        webhook=_webhook(row),
        history=history,
        vector=Vector(row["requests_offset"], row["events_offset"]),
    )


def _artifact(row: asyncpg.Record) -> StoredArtifact | None:
    if row["artifact_path"] is None:
        return None
    return StoredArtifact(
        path=row["artifact_path"],
        file_name=row["file_name"],
        media_type=row["media_type"],
        byte_count=row["byte_count"],
        sha256=row["sha256"],
    )


def _progress(row: asyncpg.Record) -> Progress | None:
    if row["progress_phase"] is None:
        return None
    return Progress(
        phase=row["progress_phase"],
        percent=row["progress_percent"],
        rows_processed=row["rows_processed"],
        rows_total=row["rows_total"],
    )


def _webhook(row: asyncpg.Record) -> WebhookOutcome | None:
    if row["webhook_status"] is None:
        return None
    return WebhookOutcome(
        status=row["webhook_status"],
        attempts=row["webhook_attempts"],
        updated_at=row["webhook_updated_at"],
    )
