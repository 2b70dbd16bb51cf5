"""How long to wait before trying again."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter; all times in seconds.

    The wait before retry n (from 1) lies between half of `first * 2**(n-1)` and the whole of it,
    and never exceeds `longest`. The jitter keeps many waiters from returning at one moment.
    """

    first: float = 0.1
    longest: float = 10.0
    uniform: Callable[[float, float], float] = random.uniform

    def delay(self, retry: int) -> float:
        """Return the wait before the given retry, counted from 1."""
        exponent = min(max(retry, 1) - 1, 32)  # beyond 2**32 only `longest` matters
        ceiling = min(self.longest, self.first * 2.0**exponent)
        return self.uniform(ceiling / 2, ceiling)
