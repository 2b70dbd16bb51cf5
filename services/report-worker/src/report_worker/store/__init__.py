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
    "end_waiting",
    "expired",
    "finish",
    "insert",
    "lock",
    "mark_cancelled",
    "notify",
    "overdue",
    "purge",
    "renew",
    "supersede",
]
