"""How often each tenant may ask: in memory, so of this process alone.

Several gateways admit as many times the rate. That is meant: a limit that all share would cost
each request a round trip, and what it protects is each gateway itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from gateway.domain import Bucket, RatePolicy, Scope, Taken, TooManyRequestsError, take

_MOST_BUCKETS: Final = 10_000


class RateLimit:
    """The buckets of all tenants under one policy."""

    def __init__(self, policy: RatePolicy, clock: Callable[[], float] = monotonic) -> None:
        self.policy = policy
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def take(self, tenant: str) -> Taken:
        """Take one of the tenant's tokens, if it has one."""
        now = self._clock()
        taken = take(self._buckets.get(tenant), now, self.policy)
        self._buckets[tenant] = taken.bucket
        if len(self._buckets) > _MOST_BUCKETS:
            self._forget_the_full(now)
        return taken

    def _forget_the_full(self, now: float) -> None:
        """A full bucket says no more than none."""
        self._buckets = {
            tenant: bucket
            for tenant, bucket in self._buckets.items()
            if bucket.at_moment(now, self.policy).tokens < self.policy.burst
        }


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limit for what changes something, and that for what only looks; None: no limit."""

    submit: RateLimit | None = None
    read: RateLimit | None = None

    def spend(self, tenant: str, scope: Scope) -> dict[str, str]:
        """Count one request of a tenant, and return the header fields that tell what is left.

        They are those of draft-ietf-httpapi-ratelimit-headers-10.

        Raises:
            TooManyRequestsError: where the tenant has to wait.

        """
        limit = self.read if scope is Scope.READ else self.submit
        if limit is None:
            return {}
        taken, policy = limit.take(tenant), limit.policy
        fields = {
            "ratelimit-policy": policy.field,
            "ratelimit": f'"{policy.name}";r={taken.remaining};t={taken.reset}',
        }
        if taken.retry_after is not None:
            raise TooManyRequestsError(taken.retry_after, fields)
        return fields
