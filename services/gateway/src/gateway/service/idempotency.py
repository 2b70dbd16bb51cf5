"""Submitting with an Idempotency-Key: however often and however concurrently, it is one job.

The key and the exact event are stored before the event is published. So whatever happens in
between, a replay finds the row and, unless the event is known to be acknowledged, publishes the
same bytes itself. An event that is published twice is the same event to every consumer.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import structlog

from gateway.domain import (
    IdempotencyKeyReusedError,
    KeyedRequest,
    KeysUnavailableError,
    RememberedRequest,
    RequestRefusedError,
    TooManyActiveJobsError,
    fingerprint,
)
from gateway.service.submissions import Submissions
from shared.backoff import Backoff
from shared.clock import Clock
from shared.events import ReportRequested
from shared.job_id import JobId, earliest
from shared.report_request import ReportRequest

_PURGE_EVERY: Final = 60.0
_PURGED_AT_ONCE: Final = 1000
_log = structlog.get_logger()


class Keys(Protocol):
    """The table of keys."""

    async def claim(self, request: KeyedRequest) -> RememberedRequest:
        """Store a request whose key is new; return what its key stands for."""

    async def find(self, tenant: str, key: str) -> RememberedRequest | None:
        """Return what a key stands for."""

    async def acknowledge(self, requests: Collection[tuple[str, str]]) -> None:
        """Note that the events behind these (tenant, key) are on the log."""

    async def purge(self, before: JobId, limit: int) -> int:
        """Forget keys of jobs from before an id; return how many."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What made a request a job the first time."""

    event: ReportRequested
    is_replay: bool


class KeyedSubmissions:
    """Submits requests that carry a key. `memory` is how long a key is remembered at least."""

    def __init__(
        self, submissions: Submissions, keys: Keys, *, memory: timedelta, clock: Clock
    ) -> None:
        self._submissions = submissions
        self._keys = keys
        self._memory = memory
        self._clock = clock
        self._acknowledged: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()

    async def submit(
        self, request: ReportRequest, tenant: str, key: str, traceparent: str
    ) -> Accepted:
        """Accept a request as a new job, or find the job that it has already become.

        Raises:
            RequestRefusedError: with everything that is wrong with a request that is new.
            TooManyActiveJobsError: where it is new and the tenant has no room for another job.
            IdempotencyKeyReusedError: where the key stands for another request.
            KeysUnavailableError: where the keys can't be read or written.
            BusUnavailableError: where it is unknown whether the job was accepted.

        """
        meant = fingerprint(request)
        remembered = await self._remembered(request, meant, tenant, key, traceparent)
        if remembered.fingerprint != meant:
            raise IdempotencyKeyReusedError
        event = ReportRequested.model_validate_json(remembered.message.value)
        if not remembered.is_acknowledged:
            await self._submissions.publish(event, remembered.message)
            self._acknowledged.add((tenant, key))
            self._wake.set()
        return Accepted(event, is_replay=not remembered.is_new)

    async def run_acknowledger(self) -> None:
        """Note acknowledgements for ever: each round takes all that came during the last.

        One that is lost costs nothing but that a replay publishes the same event again.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.drain()

    async def drain(self) -> None:
        """Note the acknowledgements that are known so far; bounded by the keys' time limit."""
        done, self._acknowledged = self._acknowledged, set()
        if not done:
            return
        try:
            await self._keys.acknowledge(done)
        except KeysUnavailableError as error:
            _log.warning("acknowledgements not noted", count=len(done), reason=str(error))

    async def purge(self) -> int:
        """Forget a bounded number of the keys that have expired; return how many there were."""
        return await self._keys.purge(earliest(self._clock() - self._memory), _PURGED_AT_ONCE)

    async def run_purger(self) -> None:
        """Forget for ever what has expired, a bounded number of rows at a time."""
        backoff = Backoff(first=_PURGE_EVERY, longest=_PURGE_EVERY * 10)
        failures = 0
        while True:
            try:
                while await self.purge() == _PURGED_AT_ONCE:
                    pass
                failures = 0
            except KeysUnavailableError as error:
                failures += 1
                _log.warning("keys not purged", reason=str(error), failures=failures)
            await asyncio.sleep(backoff.delay(max(failures, 1)))

    async def _remembered(
        self,
        request: ReportRequest,
        meant: bytes,
        tenant: str,
        key: str,
        traceparent: str,
    ) -> RememberedRequest:
        try:
            self._submissions.admit(request, tenant)
        except (RequestRefusedError, TooManyActiveJobsError):
            # What was accepted once stays accepted, though the catalogue may have changed since,
            # and it is no further job.
            earlier = await self._keys.find(tenant, key)
            if earlier is None:
                raise
            return earlier
        message = self._submissions.prepare(request, tenant, traceparent)
        job_id = JobId(message.key.decode())
        # It keeps its place until it is known whether it is a job of its own.
        self._submissions.active_jobs.add(tenant, job_id)
        try:
            return await self._keys.claim(KeyedRequest(tenant, key, meant, message))
        finally:
            self._submissions.active_jobs.remove(tenant, job_id)
