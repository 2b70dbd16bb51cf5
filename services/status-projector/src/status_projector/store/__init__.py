"""The projector's Postgres schema: one row per job, its groups of columns joined in SQL.

The upsert is the join of states said in SQL, and an integration test holds the two against each
other: a group is replaced where (version, digest) is greater, and a row in which nothing is newer
isn't written at all, so that an event that is read again leaves no dead tuple behind.

The column `history` is a JSON object whose keys mean nothing outside; each value is a fact:

    {"event": "ReportRequested", "run": 1, "at": T}       RetryRequested, CancelRequested alike
    {"event": "JobStarted",      "run": 1, "attempt": 1, "at": T, "worker": "..."}
    {"event": "JobAttemptEnded", "run": 1, "attempt": 1, "at": T, "startedAt": T,
     "outcome": "LOST", "retryAt": T, "errorCode": "...", "errorMessage": "..."}
    {"event": "JobCompleted",    "run": 1, "attempt": 1, "at": T, "startedAt": T}
    {"event": "JobFailed",       "run": 1, "attempt": 1, "at": T, "startedAt": T,
     "errorCode": "...", "errorMessage": "..."}
    {"event": "WebhookDelivered", "run": 1, "attempts": 2, "at": T}
    {"event": "WebhookExhausted", "run": 1, "attempts": 9, "at": T, "reason": "timeout"}

T is RFC 3339 in UTC with six fractional digits, so that moments sort as text. What an event
doesn't say is missing: a run that ended without an attempt has no `startedAt`. Messages are cut
off after 500 characters. Facts come in no order, and one attempt may have several of a kind where
a worker's database was put back. A tombstone (`deleted_at`) has an empty history, and NULL in all
columns but `job_id`, `tenant`, `deleted_at` and the two offsets.
"""

from status_projector.store.jobs import fold, read_all
from status_projector.store.purge import advance_watermark, purge, watermark
from status_projector.store.rebuild import (
    begin_rebuild,
    exchange,
    hold_writers,
    join_rebuilt,
    rebuilt_jobs,
)
from status_projector.store.sql import CHANGED_CHANNEL

__all__ = [
    "CHANGED_CHANNEL",
    "advance_watermark",
    "begin_rebuild",
    "exchange",
    "fold",
    "hold_writers",
    "join_rebuilt",
    "purge",
    "read_all",
    "rebuilt_jobs",
    "watermark",
]
