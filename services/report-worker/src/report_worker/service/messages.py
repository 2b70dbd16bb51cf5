"""The worker's events as they go into the outbox."""

from datetime import datetime
from typing import Final

from report_worker.domain import Run
from shared.events import JobEvent, OutgoingMessage, encode

_SOURCE: Final = "report-worker"


def message(of: Run, event: JobEvent, time: datetime) -> OutgoingMessage:
    """Wrap an event of a run, in the trace of the request that asked for the run."""
    return encode(event, source=_SOURCE, time=time, traceparent=of.traceparent)
