"""Bounds for ranges of job ids: what a time filter over ids relies on."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from shared.job_id import JobIds, created_at, earliest, is_well_formed
from shared.keyring import KeyRing

KEYS = KeyRing(signing_number=1, keys={1: b"k" * 32})
MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    timezones=st.just(UTC),
)


@given(MOMENTS, MOMENTS, st.binary(min_size=10, max_size=10))
def test_an_id_lies_beyond_the_bound_exactly_when_its_moment_does(
    made: datetime, bound: datetime, randomness: bytes
) -> None:
    job_id = JobIds(KEYS, clock=lambda: made, random_bytes=lambda _: randomness).new("default")
    assert (job_id >= earliest(bound)) == (created_at(job_id) >= bound)


def test_a_bound_is_well_formed_and_certified_by_nobody() -> None:
    bound = earliest(datetime(2024, 1, 1, tzinfo=UTC))
    assert is_well_formed(bound)
    ids = JobIds(KEYS, clock=lambda: datetime(2024, 1, 1, tzinfo=UTC))
    assert not ids.is_certified(bound, "default")


def test_moments_at_the_ends_of_the_calendar_have_bounds_too() -> None:
    assert earliest(datetime.min.replace(tzinfo=UTC)) == "job_" + "0" * 40
    before_the_calendar = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    assert earliest(before_the_calendar) == "job_" + "0" * 40
    assert earliest(datetime.max.replace(tzinfo=UTC)) > earliest(
        datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
    )
