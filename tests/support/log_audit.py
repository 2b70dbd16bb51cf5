"""Holds a whole log against what the services promise of it, whatever they went through.

It knows the two topics alone, so it judges as a subscriber would; every breach is one line.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from shared.events import (
    CancelRequested,
    DeleteRequested,
    ExecutionEvent,
    JobAttemptEnded,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobProgressed,
    JobStarted,
    ReceivedEvent,
    ReportRequested,
    RequestedReport,
    RetryRequested,
    WebhookDelivered,
    WebhookExhausted,
    webhook_id,
)

RunKey = tuple[str, int]
"""Job id and run."""

_ONE_TEXT: Final = (ReportRequested, ExecutionEvent, WebhookDelivered, WebhookExhausted)
"""Events whose repeats say the same. To ask for a cancel twice is one event of two moments."""


@dataclass(slots=True)
class RunStory:
    """What the log tells of one run."""

    started: dict[int, JobStarted] = field(default_factory=dict)
    ended: dict[int, JobAttemptEnded] = field(default_factory=dict)
    """The ends of attempts after which the run went on."""
    progress: list[JobProgressed] = field(default_factory=list)
    ends: dict[str, JobCompleted | JobFailed] = field(default_factory=dict)
    """The ends of the run by event id: there is to be one."""
    webhooks: list[WebhookDelivered | WebhookExhausted] = field(default_factory=list)

    @property
    def end(self) -> JobCompleted | JobFailed | None:
        """How the run ended."""
        return next(iter(self.ends.values()), None)

    @property
    def end_id(self) -> str:
        """The event id of its end."""
        return next(iter(self.ends))


@dataclass(slots=True)
class Log:
    """All that both topics say, each event once."""

    requested: dict[RunKey, RequestedReport] = field(default_factory=dict)
    cancelled: set[RunKey] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    runs: dict[RunKey, RunStory] = field(default_factory=lambda: defaultdict(RunStory))
    changed: list[str] = field(default_factory=list)
    """Event ids that stand for several contents."""

    @property
    def kept_runs(self) -> dict[RunKey, RunStory]:
        """The runs of jobs that nobody deleted."""
        return {key: run for key, run in self.runs.items() if key[0] not in self.deleted}

    @property
    def newest_ends(self) -> dict[str, JobCompleted | JobFailed]:
        """The end of each job's newest run; of jobs that nobody deleted."""
        ends = sorted(self.kept_runs.items())
        return {job_id: run.end for (job_id, _), run in ends if run.end is not None}


def tell(received: Iterable[ReceivedEvent]) -> Log:
    """Read the log, in any order."""
    log = Log()
    known: dict[str, JobEvent] = {}
    for one in received:
        earlier = known.setdefault(one.event_id, one.event)
        if earlier is not one.event:
            if earlier != one.event and isinstance(one.event, _ONE_TEXT):
                log.changed.append(f"{one.event_id} is {earlier!r} and {one.event!r}")
            continue
        _note(log, one.event_id, one.event)
    return log


def _note(log: Log, event_id: str, event: JobEvent) -> None:
    key = (event.job_id, event.run)
    match event:
        case ReportRequested() | RetryRequested():
            log.requested[key] = event.request
        case CancelRequested():
            log.cancelled.add(key)
        case DeleteRequested():
            log.deleted.add(event.job_id)
        case JobStarted():
            log.runs[key].started[event.attempt] = event
        case JobProgressed():
            log.runs[key].progress.append(event)
        case JobAttemptEnded():
            log.runs[key].ended[event.attempt] = event
        case JobCompleted() | JobFailed():
            log.runs[key].ends[event_id] = event
        case WebhookDelivered() | WebhookExhausted():
            log.runs[key].webhooks.append(event)


def breaches(log: Log) -> list[str]:
    """Return what the log says against the promises; it is to be read when all has come to rest.

    Nothing is promised of the runs of a job that was deleted but that none ends twice.
    """
    return [*log.changed, *_lost(log), *_of_runs(log), *_of_jobs(log)]


def _lost(log: Log) -> Iterator[str]:
    for job_id, run in log.requested:
        if job_id not in log.deleted and not log.runs[job_id, run].ends:
            yield f"{job_id}/{run} has no end"
    for job_id, run in log.runs.keys() - log.requested.keys():
        yield f"{job_id}/{run} was never asked for"


def _of_runs(log: Log) -> Iterator[str]:
    for (job_id, number), run in log.runs.items():
        told = _of_attempts(run) if run.ends else iter(())
        for breach in (*_of_end(run), *told, *_of_progress(run), *_of_webhook(run)):
            yield f"{job_id}/{number} {breach}"


def _of_end(run: RunStory) -> Iterator[str]:
    if len(run.ends) > 1:
        yield f"ended {len(run.ends)} times: {list(run.ends.values())!r}"


def _of_attempts(run: RunStory) -> Iterator[str]:
    """Each attempt that began ended once: with the run, or so that the run went on."""
    ends = list(run.ended)
    ends += [end.attempt for end in run.ends.values() if end.started_at is not None]
    for attempt in run.started.keys() | set(ends):
        if attempt not in run.started:
            yield f"attempt {attempt} ended and never began"
        elif ends.count(attempt) != 1:
            yield f"attempt {attempt} ended {ends.count(attempt)} times"


def _of_progress(run: RunStory) -> Iterator[str]:
    by_attempt: dict[int, list[JobProgressed]] = defaultdict(list)
    for event in sorted(run.progress, key=lambda one: (one.attempt, one.sequence)):
        by_attempt[event.attempt].append(event)
    for attempt, events in by_attempt.items():
        if attempt not in run.started:
            yield f"attempt {attempt} progressed and never began"
        percents = [p for one in events if (p := one.progress.percent) is not None]
        if percents != sorted(percents):
            yield f"attempt {attempt} went back: {percents}"


def _of_webhook(run: RunStory) -> Iterator[str]:
    if len(run.webhooks) > 1:
        yield f"has {len(run.webhooks)} ends of its webhook: {run.webhooks!r}"
    for event in run.webhooks:
        if event.webhook_id not in {webhook_id(event_id) for event_id in run.ends}:
            yield f"has a webhook of no end of it: {event.webhook_id}"


def _of_jobs(log: Log) -> Iterator[str]:
    """Attempts are numbered over the life of a job, and each begins after the one before."""
    starts: dict[str, list[JobStarted]] = defaultdict(list)
    for (job_id, _), run in sorted(log.runs.items()):
        starts[job_id] += [run.started[attempt] for attempt in sorted(run.started)]
    for job_id, begun in starts.items():
        numbers = [one.attempt for one in begun]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{job_id} counts its attempts {numbers}"
        if not _ascend(begun):
            yield f"{job_id} began its attempts at {[str(one.started_at) for one in begun]}"


def _ascend(begun: Sequence[JobStarted]) -> bool:
    return all(before.started_at < after.started_at for before, after in pairwise(begun))
