"""How long a reader rests between two batches."""

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.pace import Pace

SECONDS = st.floats(min_value=0, max_value=100)


@given(taken=SECONDS)
def test_idle_reader_never_rests(taken: float) -> None:
    assert Pace().rest(waited=3 * taken, taken=taken) == 0


@given(waited=SECONDS, taken=SECONDS, gather=SECONDS, longest=SECONDS)
def test_rest_is_bounded(waited: float, taken: float, gather: float, longest: float) -> None:
    rest = Pace(gather=gather, longest_rest=longest).rest(waited=waited, taken=taken)

    assert gather <= rest <= max(gather, longest)


@given(waited=SECONDS, taken=SECONDS, more=SECONDS)
def test_longer_batches_make_longer_rests_and_longer_waits_shorter_ones(
    waited: float, taken: float, more: float
) -> None:
    pace = Pace(longest_rest=1000)
    rest = pace.rest(waited=waited, taken=taken)

    assert pace.rest(waited=waited, taken=taken + more) >= rest
    assert pace.rest(waited=waited + more, taken=taken) <= rest


def test_reader_that_is_never_out_of_work_rests_twice_as_long_as_it_works() -> None:
    assert Pace().rest(waited=0, taken=0.004) == 0.008
