"""How moments are written."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import rfc3339


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC), "2024-02-29T23:59:58.000000Z"),
        (datetime(2024, 1, 1, 0, 0, 0, 5, tzinfo=UTC), "2024-01-01T00:00:00.000005Z"),
        (
            datetime(2024, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))),
            "2023-12-31T23:30:00.000000Z",
        ),
        (datetime(99, 1, 1, tzinfo=UTC), "0099-01-01T00:00:00.000000Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_fixed_width(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_the_moment_itself(moment: datetime) -> None:
    text = rfc3339(moment)

    assert datetime.fromisoformat(text) == moment
    assert len(text) == len("2024-02-29T23:59:58.000000Z")


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_text_sorts_like_time(one: datetime, other: datetime) -> None:
    assert (rfc3339(one) < rfc3339(other)) == (one < other)
