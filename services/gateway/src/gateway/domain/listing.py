"""Listings newest first: which jobs belong to one, and the token that leads to its next page."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.domain.errors import PageTokenError
from gateway.domain.jobs import JobStatus, JobView
from shared.job_id import JobId, is_well_formed

DEFAULT_PAGE_SIZE: Final = 20
LARGEST_PAGE: Final = 100
_FINGERPRINT_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which of a tenant's jobs are listed; None admits all.

    Created at `created_after` or later, and earlier than `created_before`, so that adjacent
    windows neither overlap nor leave a gap.
    """

    status: JobStatus | None = None
    report_type: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Part of a listing; `next_page_token` is None on the last page."""

    views: tuple[JobView, ...]
    next_page_token: str | None


def clamp_page_size(asked: int) -> int:
    """Return a page size that is served: 1 to 100."""
    return max(1, min(asked, LARGEST_PAGE))


def write_page_token(chosen: JobFilter, last: JobId) -> str:
    """Return the token of the page that follows `last` in this listing."""
    return base64.urlsafe_b64encode(_fingerprint(chosen) + last.encode()).decode()


def read_page_token(chosen: JobFilter, token: str) -> JobId:
    """Return the id that the page starts after.

    The token holds a position and no right: a tampered one can only lead to another position in
    the tenant's own listing. So it is checked for sense, not signed.

    Raises:
        PageTokenError: where it makes no sense or belongs to a listing with other filters.

    """
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise PageTokenError("is not a token that this API gave out") from None
    last = raw[_FINGERPRINT_BYTES:].decode("ascii", "replace")
    if not is_well_formed(last):
        raise PageTokenError("is not a token that this API gave out")
    if raw[:_FINGERPRINT_BYTES] != _fingerprint(chosen):
        raise PageTokenError("belongs to a listing with other filters; keep them while paging")
    return JobId(last)


def _fingerprint(chosen: JobFilter) -> bytes:
    moments = (chosen.created_after, chosen.created_before)
    parts = (chosen.status, chosen.report_type, *(m and m.timestamp() for m in moments))
    return hashlib.sha256(repr(parts).encode()).digest()[:_FINGERPRINT_BYTES]
