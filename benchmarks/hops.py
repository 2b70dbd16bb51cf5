"""Where the time of a job goes, hop by hop, from the times that the system itself writes down.

The hops follow each other and add up to the time from the POST to the GET that saw COMPLETED:

    accept      POST sent -> `ce_time` of ReportRequested: the request is read, checked, encoded
    request     -> startedAt (begin of the transaction that takes in and claims): through the log
    generate    finishedAt - startedAt: in the child process, source and artifact store included
    record      what is left until Kafka's time of JobCompleted: the durable transactions of the
                claim and of the end, and the way to the log
    project     -> the projector's NOTIFY: through the log, fold, commit
    see         -> the GET that says COMPLETED was answered

Kafka's times are those at which the producer got the record, in whole milliseconds, cut off; half
a millisecond is added to each, so that means are right while single values are blurred.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Final

from aiokafka import ConsumerRecord

from benchmarks.samples import Summary
from shared.bus.stored_log import open_log
from shared.events import JobCompleted, JobStarted, ReportRequested, decode, text_headers
from shared.settings import KafkaSettings
from shared.topics import Topic

_HALF_A_MILLISECOND: Final = timedelta(milliseconds=0.5)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw of its job."""

    sent_at: datetime
    accepted_at: datetime
    completed_at: datetime
    """When the answer to the GET that says COMPLETED had arrived."""


@dataclass(slots=True)
class Logged:
    """What the log says about a job."""

    requested_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    finished_logged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hops:
    """Durations in seconds, in the order in which they follow each other."""

    accept: float
    request: float
    generate: float
    record: float
    project: float
    see: float


def hops(seen: Seen, logged: Logged, notified_at: datetime | None) -> Hops | None:
    """Return the hops of one job, or None where one of its times isn't known."""
    if (
        logged.requested_at is None
        or logged.started_at is None
        or logged.finished_at is None
        or logged.finished_logged_at is None
        or notified_at is None
    ):
        return None
    generate = logged.finished_at - logged.started_at
    ends = (
        logged.requested_at - seen.sent_at,
        logged.started_at - logged.requested_at,
        generate,
        logged.finished_logged_at - logged.started_at - generate,
        notified_at - logged.finished_logged_at,
        seen.completed_at - notified_at,
    )
    return Hops(*(duration.total_seconds() for duration in ends))


def summaries(of_jobs: Sequence[Hops]) -> dict[str, Summary]:
    """Return what each hop takes, by its name."""
    return {
        hop.name: Summary.of([getattr(job, hop.name) for job in of_jobs]) for hop in fields(Hops)
    }


async def read_log(servers: str, job_ids: Iterable[str]) -> dict[str, Logged]:
    """Read both topics from their beginning; return what they say about the given jobs.

    Raises:
        BusUnavailableError: where the broker doesn't answer.

    """
    found = {job_id: Logged() for job_id in job_ids}
    settings = KafkaSettings(bootstrap_servers=servers)
    async with open_log(settings, (Topic.REQUESTS, Topic.EVENTS)) as log:
        for partition, offsets in (await log.bounds()).items():
            async for records in log.read(partition, offsets):
                for record in records:
                    _note(record, found)
    return found


def _note(record: ConsumerRecord, found: Mapping[str, Logged]) -> None:
    logged = found.get((record.key or b"").decode(errors="replace"))
    received = decode(text_headers(record.headers), record.value) if logged else None
    if logged is None or received is None:
        return
    logged_at = datetime.fromtimestamp(record.timestamp / 1000, UTC) + _HALF_A_MILLISECOND
    match received.event:
        case ReportRequested():
            logged.requested_at = datetime.fromisoformat(received.time)
        case JobStarted() as event:
            logged.started_at = event.started_at
        case JobCompleted() as event:
            logged.finished_at, logged.finished_logged_at = event.finished_at, logged_at
        case _:
            pass
