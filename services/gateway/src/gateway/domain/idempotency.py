"""What an Idempotency-Key stands for, and when two requests are the same."""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.events import OutgoingMessage
from shared.report_request import ReportRequest

_SHORTEST_MEMORY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that carries a key, as the event that it is to become."""

    tenant: str
    key: str
    fingerprint: bytes
    message: OutgoingMessage


@dataclass(frozen=True, slots=True)
class RememberedRequest:
    """The request that a key stands for; `is_new` where it is the one that was just given."""

    fingerprint: bytes
    message: OutgoingMessage
    is_acknowledged: bool
    is_new: bool


def fingerprint(request: ReportRequest) -> bytes:
    """Return a digest that two requests share if and only if they ask for the same.

    What is compared is the request as it was understood. So the order of members, white space and
    unknown fields make no difference, nor does writing a default out (`"format": "CSV"`). Inside
    `parameters` all that JSON itself tells apart counts, 1 and 1.0 included.
    """
    # Without defaults, so that a field of a later version doesn't change the digests of today.
    meaning = request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def memory(retention: timedelta) -> timedelta:
    """Return how long a key is remembered at least: as long as its job, and never under a day."""
    return max(retention, _SHORTEST_MEMORY)
