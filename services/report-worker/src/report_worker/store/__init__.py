"""The worker's Postgres schema: queue and leases. Every time here is the database's."""

from report_worker.store.arrivals import Arrival, begin
from report_worker.store.intake import (
    RunKey,
    Stoppable,
    bury,
    end_waiting,
    insert,
    lock,
    mark_cancelled,
    supersede,
)
from report_worker.store.leases import Expired, Held, claim, expired, finish, renew
from report_worker.store.planning import PLANNING
from report_worker.store.sweeping import (
    deleted_jobs,
    end_turn,
    known_runs,
    mark_swept,
    now,
    take_turn,
)
from report_worker.store.upkeep import (
    CANCELLED,
    CHANNEL,
    QUEUED,
    Counts,
    Overdue,
    counts,
    notify,
    overdue,
    purge,
)

__all__ = [
    "CANCELLED",
    "CHANNEL",
    "PLANNING",
    "QUEUED",
    "Arrival",
    "Counts",
    "Expired",
    "Held",
    "Overdue",
    "RunKey",
    "Stoppable",
    "begin",
    "bury",
    "claim",
    "counts",
    "deleted_jobs",
    "end_turn",
    "end_waiting",
    "expired",
    "finish",
    "insert",
    "known_runs",
    "lock",
    "mark_cancelled",
    "mark_swept",
    "notify",
    "now",
    "overdue",
    "purge",
    "renew",
    "supersede",
    "take_turn",
]
