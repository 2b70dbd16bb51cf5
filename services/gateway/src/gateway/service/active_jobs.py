"""How many jobs of a tenant are under way, known well enough without asking per request.

The read model is counted every second for the tenants that submit here, and the runs accepted here
that it doesn't show yet are added, from before they are published. So a burst is stopped at the
limit however concurrent it is and although the projector lags. What is known nowhere but in the
read model counts a second later: what other gateways accept, and all that there was before a tenant
came to this one.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import Final, NamedTuple, Protocol

import structlog

from gateway.domain import ReadModelUnavailableError, TooManyActiveJobsError
from shared.backoff import Backoff
from shared.job_id import JobId

_COUNT_EVERY: Final = 1.0
_ASKED_AT_ONCE: Final = 1000
_FORGET_AFTER: Final = 3600.0
"""Seconds after which a job that never showed up in the read model is no longer counted."""
_log = structlog.get_logger()


class ActiveJobCounts(Protocol):
    """The read model."""

    async def known(self, runs: Mapping[JobId, int]) -> set[JobId]:
        """Return those of the jobs that it shows in the run given, in a later one or as deleted."""

    async def count_active(self, tenants: Collection[str], limit: int) -> dict[str, int]:
        """Return how many jobs of each tenant haven't ended, counted up to `limit`."""


class _Run(NamedTuple):
    number: int
    since: float


@dataclass(slots=True)
class _Tenant:
    counted: int = 0
    unseen: dict[JobId, _Run] = field(default_factory=dict)

    def some_unseen(self) -> dict[JobId, _Run]:
        return dict(islice(self.unseen.items(), _ASKED_AT_ONCE))

    def forget(self, asked: Mapping[JobId, _Run], known: Collection[JobId], oldest: float) -> int:
        """Forget those that are known or too old, and put off the others; return how many went.

        Until the next count those that are known are counted by themselves.
        """
        went = 0
        for job_id, run in asked.items():
            if self.unseen.get(job_id) is not run:
                continue  # removed meanwhile, or a later run has begun
            del self.unseen[job_id]
            if job_id in known:
                self.counted += 1
            elif run.since > oldest:
                self.unseen[job_id] = run
                continue
            went += 1
        return went


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

    def add(self, tenant: str, job_id: JobId, run: int = 1) -> None:
        """Count a job's run that is about to be accepted; what can't be is to be removed."""
        if self._limit is not None:
            unseen = self._tenants.setdefault(tenant, _Tenant()).unseen
            unseen[job_id] = _Run(run, self._clock())

    def remove(self, tenant: str, job_id: JobId) -> None:
        """Count a job no longer, since it wasn't accepted."""
        if tenant in self._tenants:
            self._tenants[tenant].unseen.pop(job_id, None)

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
        await self._forget_seen()
        counts = await self._source.count_active(list(self._tenants), self._limit)
        for name, tenant in list(self._tenants.items()):
            tenant.counted = counts.get(name, 0)
            if not tenant.counted and not tenant.unseen:
                del self._tenants[name]

    async def _forget_seen(self) -> None:
        """Forget the runs that the read model shows by now.

        The oldest are asked for first, and more only of tenants of which most of these have shown
        up: while the projector stands still there may be ten thousands. What was asked for in vain
        takes its turn again after the others.
        """
        waiting = [(tenant, len(tenant.unseen)) for tenant in self._tenants.values()]
        while asked := [(t, left, t.some_unseen()) for t, left in waiting if left > 0 and t.unseen]:
            runs = {job_id: run.number for _, _, some in asked for job_id, run in some.items()}
            known = await self._source.known(runs)
            oldest = self._clock() - _FORGET_AFTER
            waiting = [
                (tenant, left - len(some))
                for tenant, left, some in asked
                if tenant.forget(some, known, oldest) > len(some) // 2
            ]
