"""What the conditional headers of a request ask for (RFC 9110, section 13)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import StrEnum
from typing import Final

_ENTITY_TAGS: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


class Precondition(StrEnum):
    """How a request's conditions turn out."""

    HOLDS = "holds"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state from another: an opaque tag without its quotes, and when it arose."""

    tag: str
    modified_at: datetime

    @property
    def etag(self) -> str:
        """The tag as its header has it."""
        return f'"{self.tag}"'

    @property
    def last_modified(self) -> str:
        """The moment as its header has it, to the second."""
        return http_date(self.modified_at)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditional headers as they came; None where one is missing."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None

    def judge(self, current: Validators) -> Precondition:
        """Judge them in the order of RFC 9110, section 13.2.2; a date that is none is ignored."""
        if self._is_about_another(current):
            return Precondition.FAILED
        return Precondition.NOT_MODIFIED if self._is_known(current) else Precondition.HOLDS

    def _is_about_another(self, current: Validators) -> bool:
        if self.if_match is not None:
            return not lists_tag(self.if_match, current.tag, weak=False)
        return _arose_after(self.if_unmodified_since, current) is True

    def _is_known(self, current: Validators) -> bool:
        if self.if_none_match is not None:
            return lists_tag(self.if_none_match, current.tag)
        return _arose_after(self.if_modified_since, current) is False


def lists_tag(header: str, tag: str, *, weak: bool = True) -> bool:
    """Tell whether a list of entity tags, or `*`, names this one.

    Without `weak`, tags that are marked as weak don't count: they don't promise equal bytes.
    """
    if header.strip() == "*":
        return True
    return any(
        opaque == tag and (weak or not marked) for marked, opaque in _ENTITY_TAGS.findall(header)
    )


def http_date(moment: datetime) -> str:
    """Return a moment as HTTP headers have it: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def _arose_after(date: str | None, current: Validators) -> bool | None:
    """Tell whether the state arose after a header's date; None where there is no such date."""
    try:
        since = parsedate_to_datetime(date) if date is not None else None
    except (ValueError, OverflowError):
        return None
    if since is None:
        return None
    since = since if since.tzinfo else since.replace(tzinfo=UTC)
    return current.modified_at.replace(microsecond=0) > since
