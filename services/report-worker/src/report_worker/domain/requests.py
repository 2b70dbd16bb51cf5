"""What the log asks of the queue, and the order in which a batch of it takes effect."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

from report_worker.domain.runs import NewRun, Run
from shared.job_id import JobId


@dataclass(frozen=True, slots=True)
class Rejection:
    """A run that intake refuses, and why."""

    run: NewRun
    reason: str


@dataclass(frozen=True, slots=True)
class Cancellation:
    """One run of a job is to be stopped, if it hasn't ended."""

    job_id: JobId
    run: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """A job is to be stopped and forgotten; `seen` is the run that its client saw."""

    seen: Run


Request = NewRun | Rejection | Cancellation | Deletion


@dataclass(frozen=True, slots=True)
class Round:
    """Requests of different jobs, which can take effect together."""

    runs: list[NewRun] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    cancellations: list[Cancellation] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)

    def add(self, request: Request) -> None:
        """Put a request to those of its kind."""
        match request:
            case NewRun():
                self.runs.append(request)
            case Rejection():
                self.rejections.append(request)
            case Cancellation():
                self.cancellations.append(request)
            case Deletion():
                self.deletions.append(request)
            case _:
                assert_never(request)


def rounds(requests: Iterable[Request]) -> list[Round]:
    """Split a batch so that what is asked of one job takes effect in order, a round for each.

    A request that only repeats the one before it is left out.
    """
    made: list[Round] = []
    count: dict[JobId, int] = {}
    newest: dict[JobId, Request] = {}
    for request in requests:
        job_id = job_of(request)
        if newest.get(job_id) == request:
            continue
        newest[job_id] = request
        number = count[job_id] = count.get(job_id, 0) + 1
        if number > len(made):
            made.append(Round())
        made[number - 1].add(request)
    return made


def first_runs(requests: Iterable[Request]) -> list[NewRun] | None:
    """Return the runs of a batch that asks for nothing but first runs of different jobs."""
    runs: dict[JobId, NewRun] = {}
    for request in requests:
        if not isinstance(request, NewRun) or request.run > 1:
            return None
        if runs.setdefault(request.job_id, request) != request:
            return None
    return list(runs.values())


def job_of(request: Request) -> JobId:
    """Return the job that a request is about."""
    match request:
        case NewRun() | Cancellation():
            return request.job_id
        case Rejection():
            return request.run.job_id
        case Deletion():
            return request.seen.job_id
        case _:
            assert_never(request)
