"""Job ids that certify themselves: a reader tells a real id from an invented one without I/O.

Layout of the 25 bytes behind `job_`, written as 40 lowercase base32hex digits (RFC 4648,
section 7), whose order as text is the order of their bytes and so of their time:

    0-5    milliseconds since 1970, big endian
    6-15   random
    16     number of the key that signed
    17-24  first 64 bits of HMAC-SHA256 over a domain, bytes 0-16 and the tenant

40 digits of 5 bits are exactly 200 bits, so each id has one spelling only.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Final, NewType

from shared.clock import Clock
from shared.keyring import KeyRing

JobId = NewType("JobId", str)

PREFIX: Final = "job_"
_DOMAIN: Final = b"report-jobs/job-id/v1\0"
_TIME_BYTES: Final = 6
_RANDOM_BYTES: Final = 10
_MAC_BYTES: Final = 8
_ID_BYTES: Final = _TIME_BYTES + _RANDOM_BYTES + 1 + _MAC_BYTES
_DIGITS: Final = 32
_PAIRS: Final = ["".join(pair) for pair in product("0123456789abcdefghijklmnopqrstuv", repeat=2)]
_SHIFTS: Final = range(_ID_BYTES * 8 - 10, -1, -10)
_SPELLING: Final = re.compile(r"job_[0-9a-v]{40}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LAST_MOMENT: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class JobIds:
    """Makes and verifies job ids. `random_bytes(n)` is the source of randomness."""

    keys: KeyRing
    clock: Clock
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    def new(self, tenant: str) -> JobId:
        """Return a new id for `tenant`, signed with the current key."""
        milliseconds = (self.clock() - _EPOCH) // _MILLISECOND
        head = milliseconds.to_bytes(_TIME_BYTES) + self.random_bytes(_RANDOM_BYTES)
        certified = head + bytes([self.keys.signing_number])
        mac = self.keys.sign(_message(certified, tenant))[:_MAC_BYTES]
        return _spelled(certified + mac)

    def is_certified(self, text: str, tenant: str) -> bool:
        """Tell whether `text` is an id that this system gave to `tenant`."""
        raw = _decode(text)
        if raw is None:
            return False
        certified, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        return self.keys.verify(certified[-1], _message(certified, tenant), mac)


def is_well_formed(text: str) -> bool:
    """Tell whether `text` is spelled as a job id; says nothing about who made it.

    None is from after the year 9999, although 48 bits of milliseconds would reach further.
    """
    return _SPELLING.fullmatch(text) is not None and text < _AFTER_ALL_MOMENTS


def created_at(job_id: JobId) -> datetime:
    """Return the moment within a well-formed id, in UTC, to the millisecond."""
    raw = _decode(job_id)
    if raw is None:
        raise ValueError(f"not a job id: {job_id!r}")
    return _EPOCH + int.from_bytes(raw[:_TIME_BYTES]) * _MILLISECOND


def earliest(moment: datetime) -> JobId:
    """Return a text that no id from before `moment` reaches and all later ids do.

    It is well formed and certified by nobody: a bound for ranges of ids. Ids count milliseconds,
    so a moment between two of them is rounded up.
    """
    milliseconds = -((_EPOCH - moment) // _MILLISECOND)
    head = max(0, milliseconds).to_bytes(_TIME_BYTES)
    return _spelled(head.ljust(_ID_BYTES, b"\0"))


def _message(certified: bytes, tenant: str) -> bytes:
    return _DOMAIN + certified + tenant.encode()


def _decode(text: str) -> bytes | None:
    if not is_well_formed(text):
        return None
    return int(text.removeprefix(PREFIX), _DIGITS).to_bytes(_ID_BYTES)


def _spelled(raw: bytes) -> JobId:
    """Return the id of these bytes. The module `base64` has a slower way to the same digits."""
    number = int.from_bytes(raw)
    return JobId(PREFIX + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS]))


_AFTER_ALL_MOMENTS: Final = earliest(_LAST_MOMENT)
