"""Deletes the files that nobody can ask for any more: at once for deleted jobs, else by and by."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import obstore
import structlog

from report_worker import store
from report_worker.domain.sweeping import KnownRun, StoredFile, SweepRules, is_surplus, stored_file
from report_worker.metrics import WorkerMetrics
from report_worker.store.artifacts import Artifacts, Listed
from shared.backoff import Backoff
from shared.database.pool import PASSING_ERRORS, Database
from shared.job_id import JobId

_JOBS_AT_A_TIME: Final = 100
_AWAY_AFTER: Final = 3
_STORE_FAILS: Final = (OSError, obstore.exceptions.BaseError)
_PASSING: Final = (*PASSING_ERRORS, *_STORE_FAILS)
_T = TypeVar("_T")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SweepTimes:
    """All in seconds."""

    grace: float
    """How long after its last change a file may still be written to."""
    round: float
    """From the end of one look through the whole store to the beginning of the next."""
    page: float = 0.2
    """Between two pages of it, so that a large store doesn't keep a worker busy."""
    deleted: float = 1.0
    """How often deleted jobs are looked for."""
    limit: float = 60.0
    """How long the store may take for one page."""
    retry: Backoff = field(default_factory=lambda: Backoff(first=1, longest=60))
    put_off: Backoff = field(default_factory=lambda: Backoff(first=60, longest=3600))
    """For how long a deleted job waits whose files couldn't be deleted, so that others don't."""


class _PutOff:
    """Jobs whose files couldn't be deleted, and until when each is left alone."""

    def __init__(self, backoff: Backoff, monotonic: Callable[[], float]) -> None:
        self._backoff = backoff
        self._monotonic = monotonic
        self._failures: Counter[JobId] = Counter()
        self._until: dict[JobId, float] = {}

    @property
    def jobs(self) -> list[JobId]:
        """Those that it is too early for."""
        return [job_id for job_id, until in self._until.items() if until > self._monotonic()]

    def failed(self, job_id: JobId) -> None:
        """Put a job off, for longer each time."""
        self._failures[job_id] += 1
        self._until[job_id] = self._monotonic() + self._backoff.delay(self._failures[job_id])

    def done(self, job_id: JobId) -> None:
        """Forget a job."""
        self._failures.pop(job_id, None)
        self._until.pop(job_id, None)


class Sweeper:
    """Keeps the artifact store to what somebody can ask for.

    Any number of workers sweep: a row in the database says whose turn it is. Whatever is done twice
    or breaks off in the middle does no harm, since every file is judged anew.
    """

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        *,
        retention: timedelta,
        times: SweepTimes,
        metrics: WorkerMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._retention = retention
        self._times = times
        self._metrics = metrics
        self._put_off = _PutOff(times.put_off, monotonic)

    async def run_deleted(self) -> None:
        """Sweep after jobs that are deleted, for ever."""
        await self._repeat(self.sweep_deleted, pause=lambda _: self._times.deleted)

    async def run_rounds(self) -> None:
        """Look through the whole store, page by page, again and again for ever."""
        await self._repeat(
            self.sweep_page,
            pause=lambda swept: self._times.deleted if swept is None else self._times.page,
        )

    async def _repeat(
        self,
        step: Callable[[], Coroutine[Any, Any, _T]],
        pause: Callable[[_T], float],
    ) -> None:
        failures = 0
        while True:
            try:
                wait = pause(await step())
                failures = 0
            except _PASSING as error:
                failures += 1
                wait = self._times.retry.delay(failures)
                _report_failure(error)
            await asyncio.sleep(wait)

    async def sweep_deleted(self) -> int:
        """Delete the files of jobs that were deleted lately; return how many they were.

        A job whose files can't be deleted is put off. Where several in a row can't, it is the
        store that is away: raises what the last of them met.
        """
        async with self._database.connection() as conn:
            jobs = await store.deleted_jobs(conn, limit=_JOBS_AT_A_TIME, without=self._put_off.jobs)
        swept, done, failed_in_a_row = 0, list[JobId](), 0
        try:
            for job_id in jobs:
                try:
                    swept += await self._sweep_job(job_id)
                except _STORE_FAILS as error:
                    self._put_off.failed(job_id)
                    failed_in_a_row += 1
                    if failed_in_a_row == _AWAY_AFTER:
                        raise
                    _report_failure(error)
                else:
                    self._put_off.done(job_id)
                    failed_in_a_row = 0
                    done.append(job_id)
        finally:
            if done:
                async with self._database.connection() as conn:
                    await store.mark_swept(conn, done)
        return swept

    async def _sweep_job(self, job_id: JobId) -> int:
        async with asyncio.timeout(self._times.limit):
            files = _ours(await self._artifacts.of_job(job_id))
            async with self._database.connection() as conn:
                known = await store.known_runs(conn, [job_id])
            running = {run.token for run in known.get(job_id, [])}
            return await self._delete([one for one in files if one.token not in running])

    async def sweep_page(self) -> int | None:
        """Look through the next page of the store, if it is time and nobody else does.

        Return how many files were deleted; None where there was nothing to do.
        """
        async with self._database.connection() as conn:
            turn = await store.take_turn(conn, limit=2 * self._times.limit)
        if turn is None:
            return None
        async with asyncio.timeout(self._times.limit):
            listed = await self._artifacts.page(turn.position)
            surplus = await self._surplus(listed, turn.remembers_from)
            try:
                swept = await self._delete(surplus)
            except _STORE_FAILS as error:
                swept = 0  # what is left is found again in the next round, and so is what follows
                _report_failure(error)
        position, pause = (listed[-1].path, 0.0) if listed else ("", self._times.round)
        async with self._database.connection() as conn:
            await store.end_turn(conn, position, pause=pause)
        return swept

    async def _surplus(
        self, listed: Sequence[Listed], remembers_from: datetime
    ) -> list[StoredFile]:
        """Judge files by what the database knows after they were seen: a finish may have come."""
        files = _ours(listed)
        async with self._database.connection() as conn:
            known = await store.known_runs(conn, {file.job_id for file in files})
            now = await store.now(conn)
        rules = SweepRules(
            now=now,
            retention=self._retention,
            grace=timedelta(seconds=self._times.grace),
            remembers_from=remembers_from,
        )
        return [one for one in files if is_surplus(one, _runs(known, one), rules)]

    async def _delete(self, files: Sequence[StoredFile]) -> int:
        await self._artifacts.delete([file.path for file in files])
        if files:
            self._metrics.swept.inc(len(files))
            jobs = len({file.job_id for file in files})
            _log.info("artifacts swept", files=len(files), jobs=jobs)
        return len(files)


def _report_failure(error: Exception) -> None:
    # The class alone: a store's error may quote what it was sent.
    _log.warning("artifacts not swept yet", error=type(error).__name__)


def _ours(listed: Iterable[Listed]) -> list[StoredFile]:
    found = (stored_file(one.path, one.modified_at) for one in listed)
    return [one for one in found if one is not None]


def _runs(known: Mapping[JobId, list[KnownRun]], file: StoredFile) -> list[KnownRun]:
    return known.get(file.job_id, [])
