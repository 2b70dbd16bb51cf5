"""How fast attempts have gone lately, and so how many may wait for a slot."""

from collections import deque
from typing import Final

_LATELY: Final = 32
"""Attempts that are looked back upon."""

_QUICK: Final = 0.25
"""Seconds that each of them may have taken; one that took longer can come again."""

_WAIT: Final = 0.2
"""Seconds after which the last of those that wait shall begin."""

_MOST: Final = 32
"""Enough for transactions that cost little for each attempt, and few to lose with the worker."""


class Pace:
    """Judges by what the last attempts took.

    An attempt that is claimed before a slot is free for it is already told of as started. That is
    true enough only where slots become free all the time: where every one of the last attempts
    was a matter of milliseconds.
    """

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_LATELY)

    def note(self, seconds: float) -> None:
        """Take in how long an attempt ran."""
        self._seconds.append(seconds)

    def ahead(self, slots: int) -> int:
        """Return how many attempts may wait for so many slots; none before enough is known."""
        if slots < 1 or len(self._seconds) < _LATELY or max(self._seconds) > _QUICK:
            return 0
        mean = sum(self._seconds) / _LATELY
        return min(_MOST, slots * int(_WAIT / mean)) if mean else _MOST

    @staticmethod
    def is_slow(seconds: float) -> bool:
        """Tell whether an attempt that still runs after so long keeps its slot for longer."""
        return seconds > _QUICK
