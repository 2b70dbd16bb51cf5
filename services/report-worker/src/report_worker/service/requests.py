"""What a batch of requests does to the queue, inside the transaction that stores its positions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from report_worker import domain, store
from report_worker.domain import Request, Round, Run, rounds
from report_worker.service.messages import message
from report_worker.store import RunKey
from shared.database.pool import Connection
from shared.events import JobFailed, OutgoingMessage


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that ended without an attempt."""

    run: Run
    event: JobFailed

    @property
    def message(self) -> OutgoingMessage:
        """What tells of it."""
        return message(self.run, self.event, self.event.finished_at)


@dataclass(slots=True)
class Effects:
    """What a batch did."""

    queued: set[RunKey] = field(default_factory=set)
    ended: list[EndedRun] = field(default_factory=list)
    is_any_to_stop: bool = False
    """Whether attempts that are going on are to be stopped by their workers."""


async def apply(conn: Connection, requests: Iterable[Request], now: datetime) -> Effects:
    """Let requests take effect; what each asks of a job it asks after those before it."""
    effects = Effects()
    for round_ in rounds(requests):
        await _add(conn, round_, effects, now)
        if round_.cancellations or round_.deletions:
            await _stop(conn, round_, effects)
    return effects


async def _add(conn: Connection, round_: Round, effects: Effects, now: datetime) -> None:
    refused = {_key(rejection.run): rejection for rejection in round_.rejections}
    runs = [*round_.runs, *(rejection.run for rejection in round_.rejections)]
    added = await store.insert(conn, runs, ended=refused)
    await store.supersede(conn, added)
    effects.queued |= added - refused.keys()
    effects.ended += [
        EndedRun(rejection.run, domain.rejected(rejection.run, rejection.reason, now))
        for key, rejection in refused.items()
        if key in added
    ]


async def _stop(conn: Connection, round_: Round, effects: Effects) -> None:
    deleted = [deletion.seen for deletion in round_.deletions]
    wanted: list[tuple[str, int | None]] = [(c.job_id, c.run) for c in round_.cancellations]
    wanted += [(run.job_id, None) for run in deleted]
    found = await store.lock(conn, wanted)
    await store.end_waiting(conn, found.waiting)
    await store.mark_cancelled(conn, found.running)
    await _bury(conn, deleted)
    effects.is_any_to_stop |= bool(found.running)
    effects.queued -= {_key(run) for run in found.waiting}
    if found.seen_at is not None:
        effects.ended += [EndedRun(r, domain.cancelled(r, found.seen_at)) for r in found.waiting]


async def _bury(conn: Connection, deleted: Sequence[Run]) -> None:
    if deleted:
        await store.bury(conn, deleted)


def _key(run: Run) -> RunKey:
    return (run.job_id, run.run)
