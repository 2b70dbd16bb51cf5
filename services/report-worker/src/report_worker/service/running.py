"""One attempt in a worker: the task that runs it, how far it has come, and why it was stopped."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from report_worker.domain import Attempt, Cancelled, ProgressReport, Released, never_back
from shared.events import Progress

_PROGRESS_EVERY: Final = 0.99
"""Seconds between two reports: one a second, by timers that may be a little early."""


@dataclass(slots=True)
class Running:
    """An attempt that is going on, from its claim; it has a task from when it has a slot."""

    attempt: Attempt
    now: Callable[[], float]
    """A clock that only goes forward, in seconds."""
    since: float = field(init=False)
    task: "asyncio.Task[object] | None" = None
    _begun_at: float = field(init=False)
    is_stopping: bool = False
    stopped_as: Cancelled | Released | None = None
    """What its end will be; None where it is no longer ours to end."""
    _progress: Progress | None = None
    _told: Progress | None = None
    _told_at: float = field(init=False)
    _sequence: int = 0

    def __post_init__(self) -> None:
        self.since = self._told_at = self._begun_at = self.now()

    @property
    def took(self) -> timedelta:
        """How long it has been going on."""
        return timedelta(seconds=self.now() - self.since)

    @property
    def ran(self) -> float:
        """How many seconds it has had its slot."""
        return self.now() - self._begun_at

    def begin(self, task: "asyncio.Task[object]") -> None:
        """Note that it has a slot now, and what runs it there."""
        self.task = task
        self._begun_at = self.now()

    def stop(self, stopped_as: Cancelled | Released | None) -> bool:
        """Begin to stop it; false where that has begun before, and for the same reason goes on."""
        if self.is_stopping or self.task is None:
            return False
        self.is_stopping = True
        self.stopped_as = stopped_as
        return self.task.cancel()

    def note(self, progress: Progress) -> None:
        """Remember how far it has come."""
        self._progress = never_back(self._progress, progress)

    def report(self) -> ProgressReport | None:
        """Say how far it has come, if that is news and wasn't told within the last second.

        Each report has a number of its own, whether or not it is stored in the end.
        """
        due_at = self._told_at + _PROGRESS_EVERY
        if self._progress is None or self._progress == self._told or self.now() < due_at:
            return None
        self._sequence += 1
        return ProgressReport(self.attempt, self._progress, self.took, self._sequence)

    def told(self, report: ProgressReport) -> None:
        """Note that a report was stored."""
        self._told = report.progress
        self._told_at = self.since + report.took.total_seconds()
