"""A run on its way through the queue: taken in, waiting, or under an attempt."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from shared.events import RequestedReport
from shared.job_id import JobId


@dataclass(frozen=True, slots=True)
class Run:
    """What every event of a run says of it.

    `request` is None only where it could not be read, or where this version can't read what an
    earlier one stored.
    """

    job_id: JobId
    run: int
    tenant: str
    created_at: datetime
    report_type: str
    format: str
    request: RequestedReport | None
    traceparent: str | None


class RunFields(TypedDict):
    """The fields of a run, to make one of its kinds from another or from a row."""

    job_id: JobId
    run: int
    tenant: str
    created_at: datetime
    report_type: str
    format: str
    request: RequestedReport | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class NewRun(Run):
    """A run as intake stores it; its first attempt has to begin before `start_by`."""

    start_by: datetime


@dataclass(frozen=True, slots=True)
class WaitingRun(Run):
    """A run that no attempt is going on for; `attempt` is its last one, 0 if there was none."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Attempt(Run):
    """A claimed execution: its lease is the row with `token`."""

    attempt: int
    token: UUID
    started_at: datetime
    failures: int
    losses: int


def run_fields(run: Run) -> RunFields:
    """Return what a run of any kind says of itself."""
    return RunFields(
        job_id=run.job_id,
        run=run.run,
        tenant=run.tenant,
        created_at=run.created_at,
        report_type=run.report_type,
        format=run.format,
        request=run.request,
        traceparent=run.traceparent,
    )


def first_attempt(run: NewRun, token: UUID, started_at: datetime) -> Attempt:
    """Return the attempt that begins as its run arrives."""
    return Attempt(
        **run_fields(run), attempt=1, token=token, started_at=started_at, failures=0, losses=0
    )


class Identity(TypedDict):
    """The fields that all events of a run begin with."""

    job_id: str
    tenant: str
    created_at: datetime
    report_type: str
    format: str
    run: int
    attempt: int


def identity(of: Run, *, attempt: int) -> Identity:
    """Return what an event says of its run."""
    return Identity(
        job_id=of.job_id,
        tenant=of.tenant,
        created_at=of.created_at,
        report_type=of.report_type,
        format=of.format,
        run=of.run,
        attempt=attempt,
    )


def artifact_folder(attempt: Attempt) -> str:
    """Return where the attempt puts its file: no other attempt ever writes there."""
    return f"{attempt.job_id}/{attempt.run}/{attempt.attempt}-{attempt.token.hex}"
