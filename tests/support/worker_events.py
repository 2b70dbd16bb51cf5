"""What workers tell of their jobs, collected from the log."""

from datetime import datetime

from aiokafka import AIOKafkaConsumer

from shared.events import (
    AnyJobEvent,
    JobAttemptEnded,
    JobCompleted,
    JobFailed,
    JobStarted,
    decode,
    text_headers,
)
from shared.job_id import JobId


class EventLog:
    """What the worker has published so far, each event once, by job."""

    def __init__(self) -> None:
        self._events: dict[str, dict[str, AnyJobEvent]] = {}

    async def collect(self, consumer: AIOKafkaConsumer) -> None:
        """Take in events for ever."""
        async for record in consumer:
            received = decode(text_headers(record.headers), record.value)
            assert received is not None
            of_job = self._events.setdefault(received.event.job_id, {})
            of_job[received.event_id] = received.event

    def of(self, job: JobId) -> list[AnyJobEvent]:
        """Return a job's events in the order they arrived."""
        return list(self._events.get(job, {}).values())

    def story(self, job: JobId) -> list[str]:
        """Tell a job's events in the order of its attempts: `1 started`, `1 LOST`, `2 started`.

        A job that ended twice would have two events for it, since both would differ in their id.
        """
        return [line for _, line in sorted(filter(None, map(_line, self.of(job))))]

    def started_at(self, job: JobId, attempt: int = 1) -> datetime:
        """Return when an attempt of the job began."""
        starts = (event for event in self.of(job) if isinstance(event, JobStarted))
        return next(event.started_at for event in starts if event.attempt == attempt)

    def ended(self, job: JobId) -> JobCompleted | JobFailed | None:
        """Return how the job ended, if it has; fails for a job that ended twice."""
        ends = [event for event in self.of(job) if isinstance(event, JobCompleted | JobFailed)]
        assert len(ends) <= 1, self.story(job)
        return ends[0] if ends else None

    def is_complete(self, job: JobId) -> bool:
        """Tell whether the job has ended, and all has arrived that was told of its attempts.

        What a killed worker left in the outbox is published later than what followed it.
        """
        end = self.ended(job)
        if end is None:
            return False
        told = {place for place, _ in filter(None, map(_line, self.of(job)))}
        return all({(n, 0), (n, 1)} <= told for n in range(1, end.attempt + 1))


def _line(event: AnyJobEvent) -> tuple[tuple[int, int], str] | None:
    match event:
        case JobStarted():
            return (event.attempt, 0), f"{event.attempt} started"
        case JobAttemptEnded():
            return (event.attempt, 1), f"{event.attempt} {event.outcome}"
        case JobCompleted():
            return (event.attempt, 1), f"{event.attempt} completed"
        case JobFailed():
            return (event.attempt, 1), f"{event.attempt} {event.error_code}"
        case _:
            return None
