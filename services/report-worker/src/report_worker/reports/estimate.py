"""How many rows a query will give: asked of the planner, once a report has taken a while."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from report_worker.reports.progress import ProgressReporter
from report_worker.reports.sessions import SOURCE_ERRORS, SourceSessions

QUERY_PHASE: Final = "query"
"""The phase in which a report's rows come from its source."""

_WAIT_SECONDS: Final = 0.5
"""A report that is done by then isn't worth the question."""

_ANSWER_SECONDS: Final = 5.0


@contextmanager
def estimating(
    sources: SourceSessions, source: str, query: str, progress: ProgressReporter
) -> Iterator[None]:
    """Tell `progress` the planner's estimate meanwhile, where the body takes longer than a moment.

    The question goes through a session of its own, since the report's is busy. Nothing depends on
    the answer, so that an error is no more than no answer.
    """
    asking: list[asyncio.Task[None]] = []

    def ask() -> None:
        asking.append(asyncio.create_task(_ask(sources, source, query, progress)))

    timer = asyncio.get_running_loop().call_later(_WAIT_SECONDS, ask)
    try:
        yield
    finally:
        timer.cancel()
        for task in asking:
            task.cancel()


async def _ask(
    sources: SourceSessions, source: str, query: str, progress: ProgressReporter
) -> None:
    with suppress(*SOURCE_ERRORS):
        async with sources.open(source, statement_limit=_ANSWER_SECONDS) as session:
            plans: Any = json.loads(
                await session.connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}")
            )
        progress.expect(int(plans[0]["Plan"]["Plan Rows"]), phase=QUERY_PHASE)
