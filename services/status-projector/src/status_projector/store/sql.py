"""The statements that join states into rows, built from one list of the columns."""

from typing import Final

from shared.database import positions

CHANGED_CHANNEL: Final = "report_jobs_read_model"
"""Notified once per batch that changed anything, with the changed job ids separated by spaces;
with an empty payload where they are too many to name."""

_LONGEST_PAYLOAD: Final = 7999  # bytes; job ids are ASCII

DESCRIPTION: Final = {
    "tenant": "text",
    "report_type": "text",
    "format": "text",
    "created_at": "timestamptz",
    "request": "jsonb",
}
EXECUTION: Final = {
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
    "progress_phase": "text",
    "progress_percent": "int",
    "rows_processed": "bigint",
    "rows_total": "bigint",
}
_WEBHOOK: Final = {
    "webhook_status": "text",
    "webhook_attempts": "int",
    "webhook_updated_at": "timestamptz",
}
_CANCELLATION: Final = {"cancel_run": "int", "cancel_requested_at": "timestamptz"}
_DELETION: Final = {"deleted_at": "timestamptz"}
_HISTORY: Final = {"history": "jsonb"}
_VECTOR: Final = {"requests_offset": "bigint", "events_offset": "bigint"}


def _versioned(group: str, content: dict[str, str]) -> dict[str, str]:
    return {f"{group}_version": "int[]", f"{group}_digest": "bigint", **content}


# Each group with the columns that order it.
_GROUPS: Final = (
    (_versioned("description", DESCRIPTION), ("description_version", "description_digest")),
    (_versioned("execution", EXECUTION), ("execution_version", "execution_digest")),
    (_versioned("webhook", _WEBHOOK), ("webhook_version", "webhook_digest")),
    (_CANCELLATION, ("cancel_run", "cancel_requested_at")),
)

COLUMNS: Final = {
    "job_id": "text",
    **{column: sql_type for columns, _ in _GROUPS for column, sql_type in columns.items()},
    **_DELETION,
    **_HISTORY,
    **_VECTOR,
}
NAMES: Final = ", ".join(COLUMNS)


def _is_newer(order: tuple[str, str]) -> str:
    """Compare as tuples; where one side has no such group at all, the other is the newer."""
    new, old = (f"({side}.{order[0]}, {side}.{order[1]})" for side in ("excluded", "j"))
    return f"coalesce({new} > {old}, excluded.{order[0]} IS NOT NULL)"


_IS_DELETED: Final = "(j.deleted_at IS NOT NULL OR excluded.deleted_at IS NOT NULL)"
# Text is compared as Python does, by code points.
_IS_EARLIER_DELETION: Final = (
    'coalesce((excluded.deleted_at, excluded.tenant COLLATE "C") < (j.deleted_at, j.tenant),'
    " excluded.deleted_at IS NOT NULL)"
)


def _assignments() -> list[str]:
    of_groups = [
        f"{column} = CASE WHEN {_IS_DELETED} THEN NULL"
        f" WHEN {_is_newer(order)} THEN excluded.{column} ELSE j.{column} END"
        for columns, order in _GROUPS
        for column in columns
        if column != "tenant"
    ]
    of_deletion = [
        f"{column} = CASE WHEN {_IS_EARLIER_DELETION} THEN excluded.{column} ELSE j.{column} END"
        for column in _DELETION
    ]
    of_vector = [f"{column} = greatest(j.{column}, excluded.{column})" for column in _VECTOR]
    return [
        *of_groups,
        *of_deletion,
        *of_vector,
        f"""tenant = CASE WHEN {_IS_EARLIER_DELETION} THEN excluded.tenant
            WHEN j.deleted_at IS NULL AND {_is_newer(_GROUPS[0][1])} THEN excluded.tenant
            ELSE j.tenant END""",
        f"""history = CASE WHEN {_IS_DELETED} THEN '{{}}'
            ELSE j.history || excluded.history END""",
    ]


def _has_news() -> str:
    """Tell in SQL whether the join differs from the row; nearly always the vector says so."""
    return f"""
    excluded.events_offset > j.events_offset OR excluded.requests_offset > j.requests_offset
    OR {_IS_EARLIER_DELETION}
    OR NOT {_IS_DELETED} AND ({" OR ".join(_is_newer(order) for _, order in _GROUPS)}
                              OR NOT j.history @> excluded.history)
"""


def join_into(table: str, condition: str = "true", *, first: int = 1) -> str:
    """Return the statement that joins states, in arrays from argument `first` on, into a table."""
    # Arrays of arrays would be flattened by unnest, so versions travel as text.
    arrays = (
        f"${number}::{'text' if sql_type == 'int[]' else sql_type}[]"
        for number, sql_type in enumerate(COLUMNS.values(), start=first)
    )
    values = (f"n.{name}::{sql_type}" for name, sql_type in COLUMNS.items())
    return f"""
INSERT INTO {table} AS j ({NAMES})
SELECT {", ".join(values)}
FROM unnest({", ".join(arrays)}) AS n ({NAMES})
WHERE {condition}
ON CONFLICT (job_id) DO UPDATE
SET {", ".join(_assignments())}
WHERE {_has_news()}
RETURNING j.job_id
"""  # noqa: S608 - built from the constants above


# All of a batch in one round trip, and a transaction of its own. Its commit doesn't wait for the
# disk: what a crash takes back it takes back together with the positions, so it is folded again.
FOLD: Final = f"""
WITH {positions.SAVING}, changed AS (
    {join_into("jobs", "NOT EXISTS (SELECT FROM lost)", first=positions.ARGUMENTS + 1)}
)
SELECT (SELECT count(*) FROM changed) AS changed,
       ARRAY(SELECT topic || '/' || partition FROM lost) AS lost,
       (SELECT pg_notify('{CHANGED_CHANNEL}',
                         CASE WHEN sum(length(job_id) + 1) - 1 <= {_LONGEST_PAYLOAD}
                              THEN string_agg(job_id, ' ') ELSE '' END)
        FROM changed HAVING count(*) > 0),
       set_config('synchronous_commit', 'off', true)
"""  # noqa: S608 - built from the constants above

SELECT_ALL: Final = f"SELECT {NAMES} FROM jobs ORDER BY job_id"  # noqa: S608 - the same
