"""The statements that read one page of a listing.

Each first finds the ids of its page in the one index that holds them in order, and reads these
rows alone. So the first page and the hundredth cost the same, of a thousand jobs or a million.

PostgreSQL has no choice in it. Were it told that tenant, type and status are equal to something, it
would find the primary key to be in the same order, and take that wherever it believes to meet 21
jobs of the kind soon: where VACUUM hasn't been for long, it has gone through a million newer jobs
for a page of an older type. It isn't told: whole rows lie between two others, in an order of all
columns, and no other index has that. Nor does it see the tenant before the statement runs: it would
estimate too few rows for each one that it knows, and plan anew each time.
"""

from collections.abc import Sequence
from typing import Final

from gateway.domain import DEFAULT_PAGE_SIZE, LARGEST_PAGE, JobFilter, JobStatus
from gateway.store.job_rows import COLUMNS
from shared.job_id import JobId

_LIMITS: Final = (DEFAULT_PAGE_SIZE + 1, LARGEST_PAGE + 1)
"""Rows that a statement reads at most: a page, and one to tell whether there is another. As a
parameter, PostgreSQL would plan for a tenth of all jobs."""

_TENANT: Final = "(SELECT $1::text)"
_IDS: Final = """
    SELECT job_id FROM read_model.jobs
    WHERE deleted_at IS NULL
      AND ({columns}, job_id) >= ({values}, $2) AND ({columns}, job_id) < ({values}, $3)
    ORDER BY {order}, job_id DESC LIMIT {limit}
"""

_PAGE: Final = """
    SELECT {columns} FROM ({ids}) AS page JOIN read_model.jobs AS j USING (job_id)
    ORDER BY j.job_id DESC
"""


def page_statement(
    tenant: str, chosen: JobFilter, *, first: JobId, before: JobId, limit: int
) -> tuple[str, list[str]]:
    """Return the statement for up to `limit` jobs with ids in [first, before), and its arguments.

    It may return more rows than `limit`, newest first.
    """
    rows = next(rows for rows in _LIMITS if limit <= rows)
    filters = [value for value in (chosen.report_type, chosen.status) if value is not None]
    statement = _STATEMENTS[chosen.report_type is not None, chosen.status is not None, rows]
    return statement, [tenant, first, before, *filters]


def _statement(*, of_type: bool, of_status: bool, limit: int) -> str:
    match of_type, of_status:
        case False, False:
            ids = _ids(["tenant"], [_TENANT], limit)
        case False, True:
            ids = _ids(["tenant", "status"], [_TENANT, "$4"], limit)
        case True, True:
            ids = _ids(["tenant", "report_type", "status"], [_TENANT, "$4", "$5"], limit)
        case _:
            # The index has the status before the id: one ordered stream for each, merged.
            streams = [
                _ids(["tenant", "report_type", "status"], [_TENANT, "$4", f"'{status}'"], limit)
                for status in JobStatus
            ]
            ids = f"({') UNION ALL ('.join(streams)}) ORDER BY job_id DESC LIMIT {limit}"
    return _PAGE.format(columns=COLUMNS, ids=ids)


def _ids(columns: Sequence[str], values: Sequence[str], limit: int) -> str:
    return _IDS.format(
        columns=", ".join(columns),
        values=", ".join(values),
        order=", ".join(f"{column} DESC" for column in columns),
        limit=limit,
    )


_STATEMENTS: Final = {
    (of_type, of_status, limit): _statement(of_type=of_type, of_status=of_status, limit=limit)
    for of_type in (False, True)
    for of_status in (False, True)
    for limit in _LIMITS
}
