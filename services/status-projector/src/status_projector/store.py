"""The projector's Postgres schema: one row per job, its groups of columns joined in SQL.

The upsert is `JobState.join` said in SQL, and an integration test holds the two against each
other: a group is replaced where (version, digest) is greater, and a row in which nothing is newer
isn't written at all, so that a repeated event leaves no dead tuple behind.

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

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

from asyncpg import Record

from shared.database.pool import Connection
from status_projector.domain import (
    Description,
    Execution,
    JobState,
    Status,
    Webhook,
    WebhookStatus,
)

CHANGED_CHANNEL: Final = "report_jobs_read_model"
"""Notified once per batch that changed anything, with the changed job ids separated by spaces;
with an empty payload where they are too many to name."""

_LONGEST_PAYLOAD: Final = 7999  # bytes; job ids are ASCII
_PREFETCH: Final = 1000

_DESCRIPTION: Final = {
    "tenant": "text",
    "report_type": "text",
    "format": "text",
    "created_at": "timestamptz",
    "request": "jsonb",
}
_EXECUTION: Final = {
    "status": "text",
    "updated_at": "timestamptz",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "error_code": "text",
    "error_message": "text",
    "retryable": "boolean",
    "artifact_path": "text",
    "file_name": "text",
    "media_type": "text",
    "byte_count": "bigint",
    "sha256": "text",
    "row_count": "bigint",
}
_WEBHOOK: Final = {
    "webhook_status": "text",
    "webhook_attempts": "int",
    "webhook_updated_at": "timestamptz",
}
_GROUPS: Final = {"description": _DESCRIPTION, "execution": _EXECUTION, "webhook": _WEBHOOK}


def _group_columns(group: str) -> dict[str, str]:
    return {f"{group}_version": "int[]", f"{group}_digest": "bigint", **_GROUPS[group]}


_COLUMNS: Final = {
    "job_id": "text",
    **_group_columns("description"),
    **_group_columns("execution"),
    **_group_columns("webhook"),
}


def _is_newer(group: str) -> str:
    """Compare as tuples; where one side has no such group at all, the other is the newer."""
    new, old = (f"({side}.{group}_version, {side}.{group}_digest)" for side in ("excluded", "j"))
    return f"coalesce({new} > {old}, excluded.{group}_version IS NOT NULL)"


def _upsert() -> str:
    # Arrays of arrays would be flattened by unnest, so versions travel as text.
    arrays = (
        f"${number}::{'text' if sql_type == 'int[]' else sql_type}[]"
        for number, sql_type in enumerate(_COLUMNS.values(), start=1)
    )
    values = (f"n.{name}::{sql_type}" for name, sql_type in _COLUMNS.items())
    assignments = (
        f"{column} = CASE WHEN {_is_newer(group)} THEN excluded.{column} ELSE j.{column} END"
        for group in _GROUPS
        for column in _group_columns(group)
    )
    names = ", ".join(_COLUMNS)
    return f"""
INSERT INTO jobs AS j ({names})
SELECT {", ".join(values)}
FROM unnest({", ".join(arrays)}) AS n ({names})
ON CONFLICT (job_id) DO UPDATE
SET {", ".join(assignments)}
WHERE {" OR ".join(map(_is_newer, _GROUPS))}
RETURNING j.job_id
"""  # noqa: S608 - built from the constants above


_UPSERT: Final = _upsert()
_SELECT_ALL: Final = f"SELECT {', '.join(_COLUMNS)} FROM jobs ORDER BY job_id"  # noqa: S608 - the same
_NOTIFY: Final = "SELECT pg_notify($1, $2)"


async def upsert(conn: Connection, states: Collection[JobState]) -> list[str]:
    """Join `states`, at most one per job, into the table; return the ids of the rows that changed.

    Rows are locked in the order of their ids, so that two projectors can't deadlock.
    """
    ordered = sorted(states, key=lambda state: state.job_id)
    if not ordered:
        return []
    rows = await conn.fetch(_UPSERT, *zip(*map(_values, ordered), strict=True))
    return [row["job_id"] for row in rows]


async def notify_changed(conn: Connection, job_ids: Sequence[str]) -> None:
    """Tell listeners, when the transaction commits, that these jobs changed."""
    if job_ids:
        await conn.execute(_NOTIFY, CHANGED_CHANNEL, payload(job_ids))


def payload(job_ids: Sequence[str]) -> str:
    """Return the ids as a notification carries them; nothing where they don't fit."""
    joined = " ".join(job_ids)
    return joined if len(joined) <= _LONGEST_PAYLOAD else ""


async def read_all(conn: Connection) -> AsyncIterator[JobState]:
    """Yield every row as the state that it holds; needs a transaction, whose snapshot it reads."""
    async for row in conn.cursor(_SELECT_ALL, prefetch=_PREFETCH):
        yield _state(row)


def _values(state: JobState) -> tuple[object, ...]:
    """Return a row's values in the order of `_COLUMNS`."""
    description, execution, webhook = state.description, state.execution, state.webhook
    return (
        state.job_id,
        _array(description.version),
        description.digest,
        *(getattr(description, name) for name in _DESCRIPTION),
        _array(execution.version),
        execution.digest,
        *(getattr(execution, name) for name in _EXECUTION),
        *(_webhook_values(webhook) if webhook else (None,) * len(_group_columns("webhook"))),
    )


def _webhook_values(webhook: Webhook) -> tuple[object, ...]:
    return (
        _array(webhook.version),
        webhook.digest,
        webhook.status,
        webhook.attempts,
        webhook.updated_at,
    )


def _array(version: tuple[int, ...]) -> str:
    return "{" + ",".join(map(str, version)) + "}"


def _state(row: Record) -> JobState:
    return JobState(
        job_id=row["job_id"],
        description=Description(
            version=tuple(row["description_version"]), **{name: row[name] for name in _DESCRIPTION}
        ),
        execution=Execution(
            version=tuple(row["execution_version"]),
            **{name: row[name] for name in _EXECUTION} | {"status": Status(row["status"])},
        ),
        webhook=_webhook(row) if row["webhook_version"] is not None else None,
    )


def _webhook(row: Record) -> Webhook:
    return Webhook(
        version=tuple(row["webhook_version"]),
        status=WebhookStatus(row["webhook_status"]),
        attempts=row["webhook_attempts"],
        updated_at=row["webhook_updated_at"],
    )
