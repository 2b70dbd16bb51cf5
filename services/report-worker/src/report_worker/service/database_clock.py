"""What the database's clock says, as well as it can be known without asking."""

import time
from datetime import datetime, timedelta
from typing import Final

_LONGEST_ANSWER: Final = 1.0
"""Seconds. What took longer tells too little: this process may have been frozen meanwhile."""


class DatabaseClock:
    """Goes on from what the database last said, by the monotonic clock of this process.

    It is off by no more than half of the time that the answer took, half a second at most, and by
    what the two clocks drift apart between two answers.
    """

    def __init__(self) -> None:
        self._epoch: datetime | None = None

    def now(self) -> datetime | None:
        """Return the present moment; None before the database first said it."""
        return self._epoch and self._epoch + timedelta(seconds=time.monotonic())

    def observe(self, moment: datetime, *, asked_at: float) -> None:
        """Note a moment that the database was asked for at `asked_at` of the monotonic clock."""
        answered_at = time.monotonic()
        if answered_at - asked_at <= _LONGEST_ANSWER:
            self._epoch = moment - timedelta(seconds=(asked_at + answered_at) / 2)
