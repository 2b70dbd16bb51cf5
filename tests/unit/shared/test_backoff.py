"""Backoff: grows, stays within its limits, and is spread by chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import Backoff


@pytest.mark.parametrize(
    ("retry", "low", "high"), [(1, 0.05, 0.1), (2, 0.1, 0.2), (5, 0.8, 1.6), (8, 5.0, 10.0)]
)
def test_wait_lies_between_half_and_the_whole_of_a_doubling_ceiling(
    retry: int, low: float, high: float
) -> None:
    asked: list[tuple[float, float]] = []

    def uniform(lower: float, upper: float) -> float:
        asked.append((lower, upper))
        return lower

    Backoff(first=0.1, longest=10.0, uniform=uniform).delay(retry)

    assert asked == [pytest.approx((low, high))]


@given(retry=st.integers(-5, 10**9))
def test_no_wait_is_longer_than_the_longest(retry: int) -> None:
    assert 0 < Backoff(first=0.1, longest=7.0).delay(retry) <= 7.0


def test_waiters_are_spread() -> None:
    backoff = Backoff(first=1.0, longest=1.0)

    assert len({backoff.delay(1) for _ in range(20)}) > 1
