"""What the guard ends when its worker is gone."""

from hypothesis import given
from hypothesis import strategies as st

from report_worker.execution.guard import left_at_end


@given(st.lists(st.tuples(st.sampled_from("+-"), st.integers(2, 6))))
def test_exactly_what_was_watched_last_is_left_at_the_end(told: list[tuple[str, int]]) -> None:
    newest = {group: sign for sign, group in told}
    left = left_at_end(f"{sign}{group}\n" for sign, group in told)
    assert left == {group for group, sign in newest.items() if sign == "+"}
