"""Job ids certify themselves, sort by time and have one spelling each."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.job_id import JobId, JobIds, created_at, is_well_formed
from shared.keyring import KeyRing

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
OLD = KeyRing(signing_number=1, keys={1: b"1" * 32})
ROTATED = KeyRing(signing_number=2, keys={2: b"2" * 32, 1: b"1" * 32})
OTHER = KeyRing(signing_number=1, keys={1: b"x" * 32})
_DIGITS = "0123456789abcdefghijklmnopqrstuv"


def ids(keys: KeyRing = OLD, moment: datetime = NOON) -> JobIds:
    return JobIds(keys, clock=lambda: moment)


def test_id_is_certified_for_its_tenant_alone() -> None:
    job_id = ids().new("acme")

    assert ids().is_certified(job_id, "acme")
    assert not ids().is_certified(job_id, "other")


def test_id_made_under_another_key_is_not_certified() -> None:
    assert not ids(OTHER).is_certified(ids().new("acme"), "acme")


def test_id_stays_certified_after_the_key_was_rotated() -> None:
    assert ids(ROTATED).is_certified(ids(OLD).new("acme"), "acme")
    assert not ids(OLD).is_certified(ids(ROTATED).new("acme"), "acme")


@given(position=st.integers(0, 39), digit=st.sampled_from(_DIGITS))
def test_changed_digit_is_noticed_wherever_it_is(position: int, digit: str) -> None:
    job_id = ids().new("acme")
    place = len("job_") + position
    changed = job_id[:place] + digit + job_id[place + 1 :]

    assert ids().is_certified(changed, "acme") == (changed == job_id)


@given(text=st.text())
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert not ids().is_certified(text, "acme")
    assert not ids().is_certified(f"job_{text}", "acme")


@pytest.mark.parametrize(
    "text",
    [
        "job_12345",
        "",
        "job_",
        "JOB_" + "0" * 40,
        "job_" + "0" * 39,
        "job_" + "0" * 41,
        "job_" + "w" * 40,
        "job_" + "A" * 40,
        "job_" + "0" * 40 + "\n",
        " job_" + "0" * 40,
        "job_" + "٣" * 40,
    ],
)
def test_other_spellings_are_not_well_formed(text: str) -> None:
    assert not is_well_formed(text)


def test_creation_time_is_kept_to_the_millisecond() -> None:
    assert created_at(ids().new("acme")) == NOON.replace(microsecond=123000)


def test_an_id_from_after_the_last_year_is_none() -> None:
    text = "job_" + "v" * 40
    assert not is_well_formed(text)
    with pytest.raises(ValueError, match="job id"):
        created_at(JobId(text))


def test_creation_time_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a job id"):
        created_at(JobId("job_12345"))


@given(milliseconds=st.integers(1, 10**11))
def test_later_ids_sort_later(milliseconds: int) -> None:
    later = NOON + timedelta(milliseconds=milliseconds)

    assert ids(moment=later).new("acme") > ids().new("acme")


def test_ids_of_one_moment_differ() -> None:
    assert len({ids().new("acme") for _ in range(1000)}) == 1000
