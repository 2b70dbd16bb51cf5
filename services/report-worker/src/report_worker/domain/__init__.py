"""The worker's decisions: what becomes of runs and attempts. No clock, no I/O."""

from report_worker.domain.endings import Ending, RetryPolicy, ending
from report_worker.domain.outcomes import (
    CANCELLED,
    EXPIRED,
    GENERATION_FAILED,
    INTERNAL_ERROR,
    REQUEST_REJECTED,
    TIMED_OUT,
    UNREADABLE,
    Cancelled,
    Failure,
    Generated,
    LossReason,
    Lost,
    Outcome,
    Released,
)
from report_worker.domain.progress import ProgressReport, never_back, progressed, started
from report_worker.domain.requests import Cancellation, Deletion, Rejection, Request, Round, rounds
from report_worker.domain.runs import Attempt, NewRun, Run, WaitingRun, artifact_folder
from report_worker.domain.waiting import cancelled, expired, rejected

__all__ = [
    "CANCELLED",
    "EXPIRED",
    "GENERATION_FAILED",
    "INTERNAL_ERROR",
    "REQUEST_REJECTED",
    "TIMED_OUT",
    "UNREADABLE",
    "Attempt",
    "Cancellation",
    "Cancelled",
    "Deletion",
    "Ending",
    "Failure",
    "Generated",
    "LossReason",
    "Lost",
    "NewRun",
    "Outcome",
    "ProgressReport",
    "Rejection",
    "Released",
    "Request",
    "RetryPolicy",
    "Round",
    "Run",
    "WaitingRun",
    "artifact_folder",
    "cancelled",
    "ending",
    "expired",
    "never_back",
    "progressed",
    "rejected",
    "rounds",
    "started",
]
