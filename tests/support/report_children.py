"""Children that do as they are told, and attempts for them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from report_worker.domain import Attempt, Outcome
from shared.events import Progress
from tests.support.report_runs import attempt


def attempts(count: int) -> list[Attempt]:
    """Make attempts whose tokens are 1, 2 and so on."""
    return [attempt(token=UUID(int=number)) for number in range(1, count + 1)]


@dataclass
class ObedientChildren:
    """Each attempt ends as the test says, by its token."""

    capacity: int = 2
    outcomes: dict[UUID, "asyncio.Future[Outcome]"] = field(default_factory=dict)
    cancelled: list[UUID] = field(default_factory=list)
    on_progress: dict[UUID, Callable[[Progress], None]] = field(default_factory=dict)
    stops: asyncio.Event = field(default_factory=asyncio.Event)
    made_while_stopping: Outcome | None = None

    def __post_init__(self) -> None:
        self.stops.set()

    async def execute(self, attempt: Attempt, on_progress: Callable[[Progress], None]) -> Outcome:
        self.on_progress[attempt.token] = on_progress
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.outcomes[attempt.token] = outcome
        try:
            return await outcome
        except asyncio.CancelledError:
            self.cancelled.append(attempt.token)
            await self.stops.wait()
            if self.made_while_stopping is not None:
                return self.made_while_stopping
            raise
