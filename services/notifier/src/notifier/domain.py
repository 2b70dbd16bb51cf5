"""Decides what follows from an attempt to deliver a webhook; no I/O, no clock, no randomness."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

RETRY_AFTER_CEILING: Final = timedelta(hours=24)
_GONE: Final = 410
_RETRY_AFTER_STATUSES: Final = frozenset({429, 502, 503, 504})
_SECONDS = re.compile(r"[0-9]+", re.ASCII)
_MANY_DIGITS: Final = 9


class ErrorClass(StrEnum):
    """The ways in which an attempt fails, for logs, metrics and the history."""

    DNS = "dns"
    """The host has no address, or its servers didn't answer in time."""
    REFUSED_ADDRESS = "refused_address"
    """The callback policy denies the URL or an address that its host resolves to."""
    CONNECT = "connect"
    """No connection could be made."""
    TLS = "tls"
    """The handshake failed or the certificate doesn't fit."""
    TIMEOUT = "timeout"
    """The connection or the response head took too long."""
    RESET = "reset"
    """The connection was lost before the response head was complete."""
    PROTOCOL = "protocol"
    """What came back isn't HTTP, or exceeds what a response head may hold."""
    STATUS = "status"
    """A response other than 2xx."""
    UNKNOWN = "unknown"
    """The notifier stopped in the middle: the request may have arrived or not."""


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What one attempt came to. `error` is None exactly when the webhook was delivered.

    `detail` is for people and holds nothing secret; `latency` runs to the response head;
    `retry_after` is the header as it came.
    """

    error: ErrorClass | None
    latency: timedelta
    status: int | None = None
    retry_after: str | None = None
    detail: str = ""


class DeliveryState(StrEnum):
    """Where a delivery stands; the last three are final."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What the events about a webhook repeat of its job."""

    job_id: str
    tenant: str
    run: int
    created_at: datetime
    report_type: str
    format: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A webhook to be sent: `body` stays as it is from here on, to the byte.

    `origin` names the server behind `url`; together with the tenant it is the destination.
    """

    event_id: UUID
    webhook_id: str
    url: str
    origin: str
    body: bytes
    job: JobFacts


@dataclass(frozen=True, slots=True)
class Attempt:
    """One claimed delivery; only who holds `token` may record its end. `number` is from 1."""

    delivery_id: int
    destination_id: int
    token: UUID
    number: int
    webhook_id: str
    url: str
    body: bytes
    job: JobFacts


@dataclass(frozen=True, slots=True)
class Delivered:
    """A 2xx came back."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay`; for `pause`, leave the whole destination in peace."""

    delay: timedelta
    pause: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The last attempt of the schedule has failed."""


@dataclass(frozen=True, slots=True)
class Gone:
    """410: the receiver wants no more of these, now or later."""


Verdict = Delivered | Retry | Exhausted | Gone


@dataclass(frozen=True, slots=True)
class Ending:
    """An attempt with its result and what follows from it."""

    attempt: Attempt
    result: AttemptResult
    verdict: Verdict

    @property
    def state(self) -> DeliveryState:
        """The delivery's next state."""
        match self.verdict:
            case Delivered():
                return DeliveryState.DELIVERED
            case Retry():
                return DeliveryState.PENDING
            case Exhausted():
                return DeliveryState.EXHAUSTED
            case Gone():
                return DeliveryState.STOPPED

    @property
    def outcome(self) -> str:
        """A word for logs, metrics and events: `delivered`, `status_500`, `timeout`..."""
        if self.result.error is None:
            return "delivered"
        if self.result.error is ErrorClass.STATUS:
            return f"status_{self.result.status}"
        return str(self.result.error)


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The wait before each attempt, the first included, so its length is the attempts allowed.

    Jitter only ever lengthens a wait, by up to the share `jitter` of it.
    """

    delays: tuple[timedelta, ...] = (
        timedelta(0),
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=5),
        timedelta(hours=10),
        timedelta(hours=14),
        timedelta(hours=20),
        timedelta(hours=24),
    )
    jitter: float = 0.1

    def delay_after(self, attempt: int, chance: float) -> timedelta | None:
        """Return the wait after the given attempt (from 1), or None after the last.

        `chance` lies in [0, 1) and picks the jitter.
        """
        if attempt >= len(self.delays):
            return None
        return self.delays[attempt] * (1 + self.jitter * chance)


def judge(
    result: AttemptResult, attempt: int, now: datetime, schedule: RetrySchedule, chance: float
) -> Verdict:
    """Decide what becomes of a delivery after the given attempt (counted from 1)."""
    if result.error is None:
        return Delivered()
    if result.status == _GONE:
        return Gone()
    delay = schedule.delay_after(attempt, chance)
    if delay is None:
        return Exhausted()
    if result.error is ErrorClass.UNKNOWN:
        return Retry(timedelta(0))
    if result.status not in _RETRY_AFTER_STATUSES:
        return Retry(delay)
    asked = parse_retry_after(result.retry_after, now)
    return Retry(max(delay, asked), pause=asked)


def parse_retry_after(text: str | None, now: datetime) -> timedelta:
    """Return the wait that a `Retry-After` asks for, in seconds or as an HTTP date.

    Zero for what is missing, past or makes no sense; never more than 24 hours.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        # Count digits first: a header may hold more of them than int() or timedelta takes.
        digits = text.lstrip("0") or "0"
        is_huge = len(digits) > _MANY_DIGITS
        asked = RETRY_AFTER_CEILING if is_huge else timedelta(seconds=int(digits))
    else:
        asked = _until_http_date(text, now)
    return max(timedelta(0), min(asked, RETRY_AFTER_CEILING))


def _until_http_date(text: str, now: datetime) -> timedelta:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return timedelta(0)
    if moment.tzinfo is None:  # `-0000`: the sender says nothing of its zone; HTTP dates are UTC
        moment = moment.replace(tzinfo=UTC)
    return moment - now
