"""A job's runs and attempts, put together from the facts that the projector keeps of it.

The facts come in no order and may be incomplete: what isn't known yet is None.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from gateway.domain.jobs import Fact, Job, JobStatus, WebhookOutcome

_FIRST: Final = 1
_ENDS: Final = {"JobCompleted": JobStatus.COMPLETED, "JobFailed": JobStatus.FAILED}
_WEBHOOK_ENDS: Final = {"WebhookExhausted": "EXHAUSTED", "WebhookDelivered": "DELIVERED"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution by a worker. `outcome` is None while it runs, or until its end is known."""

    number: int
    started_at: datetime | None
    ended_at: datetime | None = None
    outcome: str | None = None
    retry_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What a client asked for once, and what became of it."""

    number: int
    status: JobStatus
    requested_at: datetime | None
    cancel_requested_at: datetime | None
    finished_at: datetime | None
    error_code: str | None
    error_message: str | None
    attempts: tuple[Attempt, ...]
    webhook: WebhookOutcome | None

    @property
    def started_at(self) -> datetime | None:
        """When the first attempt began."""
        starts = [attempt.started_at for attempt in self.attempts if attempt.started_at]
        return min(starts, default=None)


def runs_of(job: Job) -> tuple[Run, ...]:
    """Return the runs of a job, in order; the first one began with the job itself.

    Events of a kind that isn't known add nothing. The newest run has the status of the job.
    """
    by_run: dict[int, list[Fact]] = defaultdict(list, {_FIRST: [], job.run: []})
    for fact in job.facts:
        by_run[fact["run"]].append(fact)
    runs = {number: _run(number, facts, job.created_at) for number, facts in by_run.items()}
    runs[job.run] = replace(runs[job.run], status=job.status)
    return tuple(runs[number] for number in sorted(runs))


def _run(number: int, facts: list[Fact], created_at: datetime) -> Run:
    end = _newest(facts, _ENDS)
    attempts = _attempts(facts, end)
    return Run(
        number=number,
        status=_status(end, attempts),
        requested_at=created_at if number == _FIRST else _earliest(facts, "RetryRequested"),
        cancel_requested_at=_earliest(facts, "CancelRequested"),
        finished_at=_moment(end, "at"),
        error_code=end.get("errorCode") if end else None,
        error_message=end.get("errorMessage") if end else None,
        attempts=attempts,
        webhook=_webhook(facts),
    )


def _status(end: Fact | None, attempts: tuple[Attempt, ...]) -> JobStatus:
    if end is not None:
        return _ENDS[end["event"]]
    is_running = bool(attempts) and attempts[-1].outcome is None
    return JobStatus.RUNNING if is_running else JobStatus.PENDING


def _attempts(facts: list[Fact], end: Fact | None) -> tuple[Attempt, ...]:
    """Put each attempt's start and end together; either may be missing."""
    started = _by_attempt(facts, "JobStarted")
    ended = _by_attempt(facts, "JobAttemptEnded")
    if end is not None and end.get("startedAt") is not None:
        ended[end["attempt"]] = end
    return tuple(
        _attempt(number, started.get(number), ended.get(number))
        for number in sorted(started.keys() | ended.keys())
    )


def _attempt(number: int, started: Fact | None, ended: Fact | None) -> Attempt:
    started_at = _moment(started, "at") or _moment(ended, "startedAt")
    if ended is None:
        return Attempt(number, started_at)
    return Attempt(
        number,
        started_at,
        ended_at=_moment(ended, "at"),
        outcome=_ENDS.get(ended["event"]) or ended["outcome"],
        retry_at=_moment(ended, "retryAt"),
        error_code=ended.get("errorCode"),
        error_message=ended.get("errorMessage"),
    )


def _webhook(facts: list[Fact]) -> WebhookOutcome | None:
    """Return how the run's webhook ended; what was delivered once stays delivered."""
    ends = [fact for fact in facts if fact["event"] in _WEBHOOK_ENDS]
    if not ends:
        return None
    last = max(ends, key=lambda fact: (_WEBHOOK_ENDS[fact["event"]] == "DELIVERED", fact["at"]))
    return WebhookOutcome(
        status=_WEBHOOK_ENDS[last["event"]],
        attempts=last["attempts"],
        updated_at=datetime.fromisoformat(last["at"]),
    )


def _by_attempt(facts: list[Fact], event: str) -> dict[int, Fact]:
    """Return the newest fact of a kind per attempt: a restored worker may tell of one again."""
    found = sorted((fact for fact in facts if fact["event"] == event), key=_order)
    return {fact["attempt"]: fact for fact in found}


def _newest(facts: list[Fact], events: Mapping[str, Any]) -> Fact | None:
    return max((fact for fact in facts if fact["event"] in events), key=_order, default=None)


def _order(fact: Fact) -> tuple[int, str, str]:
    """Order facts of one kind by attempt and time, and in the end by content alone."""
    return fact["attempt"], fact["at"], repr(sorted(fact.items()))


def _earliest(facts: list[Fact], event: str) -> datetime | None:
    moments = [fact["at"] for fact in facts if fact["event"] == event]
    return datetime.fromisoformat(min(moments)) if moments else None


def _moment(fact: Fact | None, name: str) -> datetime | None:
    value = fact.get(name) if fact is not None else None
    return None if value is None else datetime.fromisoformat(value)
