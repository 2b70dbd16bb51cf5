"""Token buckets: how often a tenant may ask, and what it is told about that.

A bucket holds up to `burst` tokens and gains `per_second`; a request takes one. So a tenant that
was quiet may send a burst at once, and in the long run sends no faster than the bucket fills.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


@dataclass(frozen=True)
class RatePolicy:
    """One limit; `name` is what clients see of it. Both figures are above 0."""

    name: str
    per_second: float
    burst: int

    @property
    def window(self) -> int:
        """The seconds in which an empty bucket fills."""
        return math.ceil(self.burst / self.per_second)

    @cached_property
    def field(self) -> str:
        """What clients are told of it, as a header has it."""
        return f'"{self.name}";q={self.burst};w={self.window}'


class Bucket(NamedTuple):
    """The tokens that there were at a moment, in seconds of any clock that only goes on."""

    tokens: float
    at: float

    def at_moment(self, now: float, policy: RatePolicy) -> "Bucket":
        """Return the bucket as it is by now."""
        gained = max(now - self.at, 0.0) * policy.per_second
        return Bucket(min(self.tokens + gained, policy.burst), now)


class Taken(NamedTuple):
    """What came of asking for a token: the bucket afterwards, and what to tell the client.

    `retry_after` in whole seconds, None where a token was there; `remaining` are whole tokens,
    `reset` the seconds until the bucket is full.
    """

    bucket: Bucket
    retry_after: int | None
    remaining: int
    reset: int


def take(bucket: Bucket | None, now: float, policy: RatePolicy) -> Taken:
    """Take a token, if there is one; a bucket that was never used is full."""
    filled = Bucket(policy.burst, now) if bucket is None else bucket.at_moment(now, policy)
    if filled.tokens >= 1:
        left, retry_after = Bucket(filled.tokens - 1, now), None
    else:
        left = filled
        retry_after = max(math.ceil((1 - filled.tokens) / policy.per_second), 1)
    return Taken(
        bucket=left,
        retry_after=retry_after,
        remaining=int(left.tokens),
        reset=math.ceil((policy.burst - left.tokens) / policy.per_second),
    )
