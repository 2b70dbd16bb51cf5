"""How many rows a query will give: asked of the planner, once a report has taken a while."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from report_worker.reports.progress import ProgressReporter
from report_worker.reports.source import SOURCE_ERRORS, open_session

_WAIT_SECONDS: Final = 0.5
"""A report that is done by then isn't worth the question."""

_ANSWER_SECONDS: Final = 5.0


@asynccontextmanager
async def estimating(
    dsn: str, query: str, progress: ProgressReporter, *, connect_limit: float
) -> AsyncIterator[None]:
    """Tell `progress` the planner's estimate meanwhile, where the body takes longer than a moment.

    The question goes through a session of its own, since the report's is busy. Nothing depends on
    the answer, so that an error is no more than no answer.
    """
    asking = asyncio.create_task(_ask(dsn, query, progress, connect_limit))
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _ask(dsn: str, query: str, progress: ProgressReporter, connect_limit: float) -> None:
    await asyncio.sleep(_WAIT_SECONDS)
    with suppress(*SOURCE_ERRORS):
        async with open_session(
            dsn, statement_limit=_ANSWER_SECONDS, connect_limit=connect_limit
        ) as connection:
            plan = await connection.fetchval(
                f"EXPLAIN (FORMAT JSON) {query}", timeout=_ANSWER_SECONDS
            )
            progress.expect(int(json.loads(plan)[0]["Plan"]["Plan Rows"]))
