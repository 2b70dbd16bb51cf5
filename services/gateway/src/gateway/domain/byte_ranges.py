"""Which bytes of a file a request asks for (RFC 9110, section 14)."""

import re
from dataclasses import dataclass
from typing import Final

from gateway.domain.conditions import Validators
from gateway.domain.errors import RangeNotSatisfiableError

_RANGE: Final = re.compile(
    r"[Bb][Yy][Tt][Ee][Ss]=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to, but not including, `end`."""

    start: int
    end: int

    @property
    def byte_count(self) -> int:
        """How many bytes these are; never 0."""
        return self.end - self.start

    def content_range(self, size: int) -> str:
        """Return the Content-Range header of this part of a file of `size` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


def requested_range(
    header: str | None, if_range: str | None, size: int, current: Validators
) -> ByteRange | None:
    """Return the part of a file that is asked for, or None where all of it is to be sent.

    All of it is sent for a header that makes no sense, for several ranges at once (nobody who
    fetches a report needs them), and where `if_range` names another state of the file.

    Raises:
        RangeNotSatisfiableError: where the file has no such bytes.

    """
    found = _RANGE.fullmatch(header) if header is not None else None
    if found is None or not _is_current(if_range, current):
        return None
    first, last = found[1], found[2]
    if first:
        return _from(int(first), int(last) if last else None, size)
    return _last(int(last), size) if last else None


def _from(first: int, last: int | None, size: int) -> ByteRange | None:
    if last is not None and last < first:
        return None  # that is no range
    if first >= size:
        raise RangeNotSatisfiableError(size)
    return ByteRange(first, size if last is None else min(last + 1, size))


def _last(count: int, size: int) -> ByteRange | None:
    if count == 0:
        raise RangeNotSatisfiableError(size)
    # The end of an empty file is satisfiable, and no Content-Range can say so.
    return ByteRange(max(0, size - count), size) if size else None


def _is_current(if_range: str | None, current: Validators) -> bool:
    """Judge If-Range; a file never changes within a second, so a date is as good as its tag."""
    return if_range is None or if_range.strip() in {current.etag, current.last_modified}
