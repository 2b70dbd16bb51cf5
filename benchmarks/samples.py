"""What many measured times come to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Summary:
    """Times in milliseconds."""

    count: int
    mean: float
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Sum up times that were taken in seconds; there must be at least one."""
        ordered = sorted(value * 1000 for value in seconds)
        return cls(
            count=len(ordered),
            mean=sum(ordered) / len(ordered),
            p50=percentile(ordered, 0.50),
            p99=percentile(ordered, 0.99),
            longest=ordered[-1],
        )


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Return the least value that at least `fraction` of the ordered values don't exceed."""
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]
