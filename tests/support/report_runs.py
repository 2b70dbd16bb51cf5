"""Runs, attempts and outcomes as the report-worker's tests need them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from report_worker.domain import Attempt, Generated, NewRun, RetryPolicy, WaitingRun
from shared.backoff import Backoff
from shared.events import Artifact, RequestedDateRange, RequestedReport
from shared.job_id import JobId

NOON: Final = datetime(2024, 5, 6, 12, tzinfo=UTC)
NEVER: Final = datetime(9000, 1, 1, tzinfo=UTC)
REQUEST: Final = RequestedReport(
    report_type="EMPTY",
    date_range=RequestedDateRange(from_date="2024-01-01", to_date="2024-01-31"),
    format="CSV",
)
POLICY: Final = RetryPolicy(
    max_failures=3, max_losses=3, backoff=Backoff(first=8, longest=60, uniform=lambda _, high: high)
)
"""Waits of 8, 16, ... seconds without jitter."""

GENERATED: Final = Generated(
    artifact=Artifact(
        path="a/b.csv", file_name="b.csv", media_type="text/csv", byte_count=12, sha256="00" * 32
    ),
    row_count=3,
)
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuv"


def job_id(number: int) -> JobId:
    """Return a well-formed id, the same for the same number, later ones for greater numbers."""
    digits = ""
    for _ in range(40):
        number, digit = divmod(number, 32)
        digits = _ALPHABET[digit] + digits
    return JobId("job_" + digits)


def new_run(number: int = 1, **changes: Any) -> NewRun:
    """Make a run of tenant acme."""
    run = NewRun(
        job_id=job_id(number),
        run=1,
        tenant="acme",
        created_at=NOON,
        report_type="EMPTY",
        format="CSV",
        request=REQUEST,
        traceparent=None,
        start_by=NEVER,
    )
    return replace(run, **changes)


def waiting_run(**changes: Any) -> WaitingRun:
    """Make a run of tenant acme that waits for its first attempt."""
    run = WaitingRun(
        job_id=job_id(1),
        run=1,
        tenant="acme",
        created_at=NOON,
        report_type="EMPTY",
        format="CSV",
        request=REQUEST,
        traceparent=None,
        attempt=0,
    )
    return replace(run, **changes)


def attempt(**changes: Any) -> Attempt:
    """Make a first attempt that began ten seconds after its job's creation."""
    made = Attempt(
        job_id=job_id(1),
        run=1,
        attempt=1,
        token=UUID(int=7),
        tenant="acme",
        created_at=NOON,
        report_type="EMPTY",
        format="CSV",
        request=REQUEST,
        traceparent=None,
        started_at=NOON + timedelta(seconds=10),
        failures=0,
        losses=0,
    )
    return replace(made, **changes)
