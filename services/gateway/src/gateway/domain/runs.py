"""A job's runs and attempts, put together from the facts that the projector keeps of it.

The facts come in no order and may be incomplete: what isn't known yet is None. Moments stay the
text that they are in the facts: RFC 3339 in UTC and of one width, which sorts like time.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.domain.jobs import Fact, Job, JobStatus, WebhookOutcome
from shared.clock import rfc3339

_FIRST: Final = 1
_ENDS: Final = {"JobCompleted": JobStatus.COMPLETED, "JobFailed": JobStatus.FAILED}
_WEBHOOK_ENDS: Final = {"WebhookExhausted": "EXHAUSTED", "WebhookDelivered": "DELIVERED"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution by a worker. `outcome` is None while it runs, or until its end is known."""

    number: int
    started_at: str | None
    ended_at: str | None = None
    outcome: str | None = None
    retry_at: str | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What a client asked for once, and what became of it."""

    number: int
    status: JobStatus
    requested_at: str | None
    cancel_requested_at: str | None
    finished_at: str | None
    error_code: str | None
    error_message: str | None
    attempts: tuple[Attempt, ...]
    webhook: WebhookOutcome | None

    @property
    def started_at(self) -> str | None:
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
    return tuple(_run(job, number, by_run[number]) for number in sorted(by_run))


def _run(job: Job, number: int, facts: list[Fact]) -> Run:
    end = _newest(facts, _ENDS)
    attempts = _attempts(facts, end)
    return Run(
        number=number,
        status=job.status if number == job.run else _status(end, attempts),
        requested_at=(
            rfc3339(job.created_at) if number == _FIRST else _earliest(facts, "RetryRequested")
        ),
        cancel_requested_at=_earliest(facts, "CancelRequested"),
        finished_at=end["at"] if end else None,
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
    if ended is None:
        return Attempt(number, started["at"] if started else None)
    return Attempt(
        number,
        started["at"] if started else ended.get("startedAt"),
        ended_at=ended["at"],
        outcome=_ENDS.get(ended["event"]) or ended["outcome"],
        retry_at=ended.get("retryAt"),
        error_code=ended.get("errorCode"),
        error_message=ended.get("errorMessage"),
    )


def _webhook(facts: list[Fact]) -> WebhookOutcome | None:
    """Return what became of the run's webhook; what was delivered once stays delivered."""
    ends = [fact for fact in facts if fact["event"] in _WEBHOOK_ENDS]
    if not ends:
        # Of two facts of one end, one may be from a version that didn't note webhooks yet.
        end = _newest([fact for fact in facts if "webhook" in fact], _ENDS)
        if end is None:
            return None
        return WebhookOutcome(end["webhook"], 0, datetime.fromisoformat(end["at"]))
    last = max(ends, key=lambda fact: (_WEBHOOK_ENDS[fact["event"]] == "DELIVERED", fact["at"]))
    return WebhookOutcome(
        status=_WEBHOOK_ENDS[last["event"]],
        attempts=last["attempts"],
        updated_at=datetime.fromisoformat(last["at"]),
    )


def _by_attempt(facts: list[Fact], event: str) -> dict[int, Fact]:
    """Return the newest fact of a kind per attempt: a restored worker may tell of one again."""
    found = _in_order([fact for fact in facts if fact["event"] == event])
    return {fact["attempt"]: fact for fact in found}


def _newest(facts: list[Fact], events: Mapping[str, Any]) -> Fact | None:
    found = _in_order([fact for fact in facts if fact["event"] in events])
    return found[-1] if found else None


def _in_order(facts: list[Fact]) -> list[Fact]:
    """Return facts of one kind, the newest last; mostly there is one, and nothing to compare."""
    return sorted(facts, key=_order) if len(facts) > 1 else facts


def _order(fact: Fact) -> tuple[int, str, str]:
    """Order facts of one kind by attempt and time, and in the end by content alone."""
    return fact["attempt"], fact["at"], repr(sorted(fact.items()))


def _earliest(facts: list[Fact], event: str) -> str | None:
    return min((fact["at"] for fact in facts if fact["event"] == event), default=None)
