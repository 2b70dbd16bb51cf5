"""What of an event goes down in its job's history; `status_projector.store` tells the shapes.

A fact is canonical JSON and its key a hash of it: two histories have a key in common only where
they have the fact in common, so that their union depends on neither order nor repetition.
"""

import hashlib
import json
from typing import Final, assert_never

from shared.clock import rfc3339
from shared.events import (
    AnyJobEvent,
    CancelRequested,
    DeleteRequested,
    JobAttemptEnded,
    JobCompleted,
    JobFailed,
    JobProgressed,
    JobStarted,
    ReportRequested,
    RetryRequested,
    WebhookDelivered,
    WebhookExhausted,
)

_KEY_BYTES: Final = 8
_LONGEST_TEXT: Final = 500

Fact = dict[str, str | int | None]

_canonical: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":")
).encode


def history_of(event: AnyJobEvent) -> dict[str, str]:
    """Return what `event` adds to the history of its job: one fact by its key, or nothing."""
    details = _details(event)
    if details is None:
        return {}
    fact: Fact = {"event": type(event).__name__, "run": event.run, **details}
    return keyed(spell({name: value for name, value in fact.items() if value is not None}))


def wants_webhook(end: JobCompleted | JobFailed) -> bool:
    """Whether the end of a run is to be told to a callback URL."""
    return end.request is not None and end.request.callback_url is not None


def keyed(text: str) -> dict[str, str]:
    """Return a fact by the key that it has."""
    return {hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).hexdigest(): text}


def spell(fact: Fact) -> str:
    """Return the one spelling that a fact has in Python; the database has its own."""
    return _canonical(fact)


def _details(event: AnyJobEvent) -> Fact | None:
    match event:
        case JobStarted() | JobAttemptEnded():
            return _of_attempt(event)
        case JobCompleted() | JobFailed():
            return _of_end(event)
        case ReportRequested() | RetryRequested() | CancelRequested():
            return _of_request(event)
        case WebhookDelivered() | WebhookExhausted():
            return _of_webhook(event)
        case JobProgressed() | DeleteRequested():
            return None
        case _:
            assert_never(event)


def _of_request(event: ReportRequested | RetryRequested | CancelRequested) -> Fact:
    if isinstance(event, ReportRequested):
        return {"at": rfc3339(event.created_at)}
    return {"at": rfc3339(event.requested_at)}


def _of_attempt(event: JobStarted | JobAttemptEnded) -> Fact:
    if isinstance(event, JobStarted):
        return {
            "attempt": event.attempt,
            "at": rfc3339(event.started_at),
            "worker": event.worker[:_LONGEST_TEXT],
        }
    return {
        "attempt": event.attempt,
        "at": rfc3339(event.ended_at),
        "startedAt": rfc3339(event.started_at),
        "outcome": event.outcome[:_LONGEST_TEXT],
        "retryAt": rfc3339(event.retry_at),
        **_error(event),
    }


def _of_end(event: JobCompleted | JobFailed) -> Fact:
    return {
        "attempt": event.attempt,
        "at": rfc3339(event.finished_at),
        "startedAt": None if event.started_at is None else rfc3339(event.started_at),
        "webhook": "PENDING" if wants_webhook(event) else None,
        **({} if isinstance(event, JobCompleted) else _error(event)),
    }


def _of_webhook(event: WebhookDelivered | WebhookExhausted) -> Fact:
    if isinstance(event, WebhookDelivered):
        return {"attempts": event.attempts, "at": rfc3339(event.delivered_at)}
    return {
        "attempts": event.attempts,
        "at": rfc3339(event.exhausted_at),
        "reason": event.reason[:_LONGEST_TEXT],
    }


def _error(event: JobAttemptEnded | JobFailed) -> Fact:
    message = event.error_message
    return {
        "errorCode": event.error_code and event.error_code[:_LONGEST_TEXT],
        "errorMessage": None if message is None else message[:_LONGEST_TEXT],
    }
