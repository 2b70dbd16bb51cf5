"""Events from the log: a run that ended and was given a callback URL becomes a delivery."""

from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from notifier.domain import JobFacts, NewDelivery
from notifier.payload import TerminalEvent, body_bytes
from notifier.service import Deliveries
from shared.bus import Batch
from shared.callback import CallbackPolicy, CallbackUrlError, check_callback_url
from shared.clock import Clock
from shared.events import JobCompleted, JobFailed, ReceivedEvent, event_id, webhook_id
from shared.job_id import earliest
from shared.links import DownloadLinks

WANTED: Final = (JobCompleted, JobFailed)
"""The only events that a delivery can come of."""

_UNREADABLE_ORIGIN: Final = "unreadable"
_ANY_ADDRESS: Final = CallbackPolicy((IPv4Network("0.0.0.0/0"), IPv6Network("::/0")))


def has_callback(received: ReceivedEvent) -> bool:
    """Tell whether an event is one that a delivery comes of."""
    event = received.event
    return (
        isinstance(event, JobCompleted | JobFailed)
        and event.request is not None
        and event.request.callback_url is not None
    )


class EventsHandler:
    """Takes batches of the events topic; jobs older than `retention` are nobody's any more."""

    def __init__(
        self,
        deliveries: Deliveries,
        links: DownloadLinks,
        retention: timedelta,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._deliveries = deliveries
        self._links = links
        self._retention = retention
        self._clock = clock
        self._wake = wake

    async def handle(self, batch: Batch) -> None:
        """Store the batch's webhooks; raises where the database is away."""
        first_kept = earliest(self._clock() - self._retention)
        kept = (received for received in batch.events if received.event.job_id >= first_kept)
        deliveries = [d for d in map(self._delivery, kept) if d is not None]
        if await self._deliveries.take_in(deliveries, batch.progress):
            self._wake()

    def _delivery(self, received: ReceivedEvent) -> NewDelivery | None:
        event = received.event
        if not isinstance(event, JobCompleted | JobFailed):
            return None
        if event.request is None or event.request.callback_url is None:
            return None
        terminal_id = event_id(event)
        return NewDelivery(
            event_id=terminal_id,
            webhook_id=webhook_id(terminal_id),
            url=event.request.callback_url,
            origin=_origin(event.request.callback_url),
            body=body_bytes(event, self._links, self._retention),
            job=_facts(event, received.traceparent),
        )


def _facts(event: TerminalEvent, traceparent: str | None) -> JobFacts:
    return JobFacts(
        job_id=event.job_id,
        tenant=event.tenant,
        run=event.run,
        created_at=event.created_at,
        report_type=event.report_type,
        format=event.format,
        traceparent=traceparent,
    )


def _origin(url: str) -> str:
    """Return the server behind a URL, whether or not it may be called: that is judged at sending.

    What the gateway would never have let in still gets its attempts, and so ends visibly.
    """
    try:
        return check_callback_url(url, _ANY_ADDRESS).origin
    except CallbackUrlError:
        return _UNREADABLE_ORIGIN
