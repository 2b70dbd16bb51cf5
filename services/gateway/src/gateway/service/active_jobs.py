"""How many jobs of a tenant are under way, known well enough without asking per request.

The read model is counted every second for the tenants that submit here, and the jobs accepted here
that it doesn't show yet are added. So a burst is stopped at the limit although the projector lags,
and what other gateways accept counts a second later.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Protocol

import structlog

from gateway.domain import ReadModelUnavailableError, TooManyActiveJobsError
from shared.backoff import Backoff
from shared.job_id import JobId

_COUNT_EVERY: Final = 1.0
_FORGET_AFTER: Final = 3600.0
"""Seconds after which a job that never showed up in the read model is no longer counted."""
_log = structlog.get_logger()


class ActiveJobCounts(Protocol):
    """The read model."""

    async def known(self, job_ids: Collection[JobId]) -> set[JobId]:
        """Return those of the jobs that it has a row of."""

    async def count_active(self, tenants: Collection[str], limit: int) -> dict[str, int]:
        """Return how many jobs of each tenant haven't ended, counted up to `limit`."""


@dataclass(slots=True)
class _Tenant:
    counted: int = 0
    unseen: dict[JobId, float] = field(default_factory=dict)


class ActiveJobs:
    """Keeps each tenant within `limit` jobs that haven't ended; None: no limit."""

    def __init__(
        self,
        source: ActiveJobCounts,
        limit: int | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._source = source
        self._limit = limit
        self._clock = clock
        self._tenants: dict[str, _Tenant] = {}

    def require_room(self, tenant: str) -> None:
        """Raise TooManyActiveJobsError where the tenant may start no further job."""
        known = self._tenants.get(tenant)
        if self._limit is None or known is None:
            return
        if known.counted + len(known.unseen) >= self._limit:
            raise TooManyActiveJobsError(self._limit)

    def add(self, tenant: str, job_id: JobId) -> None:
        """Count a job that was accepted."""
        if self._limit is not None:
            self._tenants.setdefault(tenant, _Tenant()).unseen[job_id] = self._clock()

    async def keep_counting(self) -> None:
        """Count for ever; while the read model is away, the last counts hold."""
        backoff, failures = Backoff(first=_COUNT_EVERY, longest=10.0), 0
        while True:
            try:
                await self.count()
                failures = 0
            except ReadModelUnavailableError as error:
                failures += 1
                _log.warning("active jobs not counted", reason=str(error))
            await asyncio.sleep(backoff.delay(failures) if failures else _COUNT_EVERY)

    async def count(self) -> None:
        """Count once. A job that appears in between is counted twice for a moment, never missed."""
        if self._limit is None or not self._tenants:
            return
        unseen = [job_id for tenant in self._tenants.values() for job_id in tenant.unseen]
        known = await self._source.known(unseen) if unseen else set()
        counts = await self._source.count_active(list(self._tenants), self._limit)
        oldest = self._clock() - _FORGET_AFTER
        for name, tenant in list(self._tenants.items()):
            tenant.counted = counts.get(name, 0)
            tenant.unseen = {
                job_id: since
                for job_id, since in tenant.unseen.items()
                if job_id not in known and since > oldest
            }
            if not tenant.counted and not tenant.unseen:
                del self._tenants[name]
