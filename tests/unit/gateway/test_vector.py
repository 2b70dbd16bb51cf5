"""The order of a job's states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import Vector

vectors = st.builds(Vector, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))


@given(vectors)
def test_a_vector_reads_back(vector: Vector) -> None:
    assert Vector.parse(str(vector)) == vector


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1-2", "01-2", "1-2-3", "1-x", "\u0661-2", "9" * 5000 + "-1"]
)
def test_other_texts_are_none(text: str) -> None:
    assert Vector.parse(text) is None


@given(vectors, vectors)
def test_of_two_states_at_most_one_is_beyond_the_other(one: Vector, other: Vector) -> None:
    assert not (one.is_beyond(other) and other.is_beyond(one))
    assert one.covers(other) == (one == other or one.is_beyond(other))


def test_neither_of_two_incomparable_states_is_beyond_the_other() -> None:
    assert not Vector(2, 1).is_beyond(Vector(1, 2))
    assert not Vector(1, 2).is_beyond(Vector(2, 1))
