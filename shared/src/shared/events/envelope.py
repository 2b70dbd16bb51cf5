"""CloudEvents 1.0 in Kafka's binary mode: attributes in `ce_*` headers, JSON in the value."""

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final, get_args

from pydantic import ValidationError

from shared.clock import rfc3339
from shared.events.payloads import (
    AnyJobEvent,
    CancelRequested,
    DeleteRequested,
    ExecutionEvent,
    JobAttemptEnded,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobProgressed,
    JobStarted,
    ReportRequested,
    RetryRequested,
    RunEnded,
    WebhookDelivered,
    WebhookExhausted,
)
from shared.topics import Topic

_NAMESPACE: Final = uuid.UUID("6f0d4b4e-7a0c-5f0e-9d53-1c1b1c3f6a11").bytes
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The first digit of a UUID's fourth group: two bits of the hash are replaced (RFC 9562)."""
_NUL_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""An escape that isn't itself escaped. JSON has no other spelling for NUL."""

TOPICS: Final[dict[type[JobEvent], Topic]] = {
    ReportRequested: Topic.REQUESTS,
    RetryRequested: Topic.REQUESTS,
    CancelRequested: Topic.REQUESTS,
    DeleteRequested: Topic.REQUESTS,
    JobStarted: Topic.EVENTS,
    JobProgressed: Topic.EVENTS,
    JobAttemptEnded: Topic.EVENTS,
    JobCompleted: Topic.EVENTS,
    JobFailed: Topic.EVENTS,
    WebhookDelivered: Topic.EVENTS,
    WebhookExhausted: Topic.EVENTS,
}
"""Every event type and the topic it is written to."""


def type_name(event_type: type[JobEvent]) -> str:
    """Return the `ce_type` of an event type."""
    return f"report-jobs.{event_type.__name__}.v1"


def schema_id(event_type: type[JobEvent]) -> str:
    """Return the `ce_dataschema` of an event type, the `$id` of its JSON Schema."""
    return f"urn:report-jobs:events:{event_type.__name__}:v1"


_TYPES: Final[dict[str, type[AnyJobEvent]]] = {
    type_name(event_type): event_type for event_type in get_args(AnyJobEvent)
}


class InvalidMessageError(Exception):
    """A message that can never be understood; `reason` says why, for the dead letter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message as it will be written: `topic` without the installation's prefix."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, str]

    @property
    def event_id(self) -> uuid.UUID:
        """The derived id of the event within."""
        return uuid.UUID(self.headers["ce_id"])


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """A message that was understood, and where it was read; an offset of -1 is no place."""

    event: AnyJobEvent
    event_id: str
    time: str
    traceparent: str | None
    topic: str = ""
    offset: int = -1


def event_id(event: JobEvent) -> uuid.UUID:
    """Derive the id of an event: whatever makes it twice makes the same event.

    The end of a run belongs to the run, whichever attempt brought it about: a worker whose
    database forgot the end and that runs the job again tells of the same end.
    """
    return uuid.UUID(_id_of(event))


def _id_of(event: JobEvent) -> str:
    """Return the id as text: what uuid5 gives, in half the time; every event passes here."""
    attempt, sequence = _number(event)
    name = f"{event.job_id}/{event.run}/{attempt}/{type(event).__name__}/{sequence}"
    hashed = hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[hashed[16]]
    return f"{hashed[:8]}-{hashed[8:12]}-5{hashed[13:16]}-{variant}{hashed[17:20]}-{hashed[20:32]}"


def _number(event: JobEvent) -> tuple[int, int]:
    if isinstance(event, ExecutionEvent) and not isinstance(event, RunEnded):
        return event.attempt, event.sequence
    return 0, 0


def webhook_id(terminal_event_id: str | uuid.UUID) -> str:
    """Derive the `webhook-id` of the webhook that tells of a run's end."""
    return f"msg_{uuid.UUID(str(terminal_event_id)).hex}"


def encode(
    event: JobEvent, *, source: str, time: datetime, traceparent: str | None = None
) -> OutgoingMessage:
    """Wrap `event` as it goes to its topic, keyed by job id; `source` is the writing service."""
    headers = {
        **_common_headers(type(event), source),
        "ce_id": _id_of(event),
        "ce_subject": event.job_id,
        "ce_time": rfc3339(time),
        "ce_tenant": event.tenant,
    }
    if traceparent:
        headers["traceparent"] = traceparent
    return OutgoingMessage(
        topic=TOPICS[type(event)],
        key=event.job_id.encode(),
        value=event.model_dump_json(by_alias=True).encode(),
        headers=headers,
    )


@cache
def _common_headers(event_type: type[JobEvent], source: str) -> dict[str, str]:
    return {
        "ce_specversion": "1.0",
        "ce_source": f"/report-jobs/{source}",
        "ce_type": type_name(event_type),
        "ce_dataschema": schema_id(event_type),
        "content-type": "application/json",
    }


def byte_headers(headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """Return headers as a record carries them."""
    return [(name, value.encode()) for name, value in headers.items()]


def text_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Read record headers tolerantly: the last of a name wins, and what is no text is replaced.

    NUL counts as no text, because PostgreSQL can't store it.
    """
    return {
        name: (value or b"").decode("utf-8", "replace").replace("\0", "\ufffd")
        for name, value in headers
    }


def decode(
    headers: dict[str, str], value: bytes | None, *, topic: str = "", offset: int = -1
) -> ReceivedEvent | None:
    """Read a message; None for an event type of a later version, which is not ours to judge.

    `topic` and `offset` say where it was read, if from a log.

    Raises:
        InvalidMessageError: for what is no CloudEvent or doesn't fit the schema of its type.

    """
    name = headers.get("ce_type")
    if not name or not headers.get("ce_id"):
        raise InvalidMessageError("no CloudEvent: ce_type or ce_id is missing")
    event_type = _TYPES.get(name)
    if event_type is None:
        return None
    if value and b"\\u0000" in value and _NUL_ESCAPE.search(value):
        raise InvalidMessageError(f"{name}: holds a NUL character, which PostgreSQL can't store")
    try:
        event = event_type.model_validate_json(value or b"")
    except ValidationError as error:
        raise InvalidMessageError(f"{name}: {_summary(error)}") from None
    return ReceivedEvent(
        event=event,
        event_id=headers["ce_id"],
        time=headers.get("ce_time", ""),
        traceparent=headers.get("traceparent"),
        topic=topic,
        offset=offset,
    )


def _summary(error: ValidationError) -> str:
    problems = (
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)[:5]
    )
    return "; ".join(problems)
