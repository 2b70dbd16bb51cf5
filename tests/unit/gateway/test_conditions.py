"""Conditional headers and ranges, as RFC 9110 decides them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import (
    ByteRange,
    Conditions,
    Precondition,
    RangeNotSatisfiableError,
    Validators,
    requested_range,
)

FILE = Validators("abc", datetime(2024, 2, 1, 9, 30, 4, 500_000, tzinfo=UTC))
THEN = "Thu, 01 Feb 2024 09:30:04 GMT"
BEFORE = "Thu, 01 Feb 2024 09:30:03 GMT"
HOLDS, NOT_MODIFIED, FAILED = Precondition


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [
        (Conditions(), HOLDS),
        (Conditions(if_none_match='"abc"'), NOT_MODIFIED),
        (Conditions(if_none_match='W/"abc"'), NOT_MODIFIED),
        (Conditions(if_none_match='"x", "a,b" , "abc"'), NOT_MODIFIED),
        (Conditions(if_none_match="*"), NOT_MODIFIED),
        (Conditions(if_none_match='"abcd"'), HOLDS),
        (Conditions(if_none_match="abc"), HOLDS),
        (Conditions(if_match='"abc"'), HOLDS),
        (Conditions(if_match="*"), HOLDS),
        (Conditions(if_match='W/"abc"'), FAILED),
        (Conditions(if_match='"x"'), FAILED),
        (Conditions(if_match='"x"', if_none_match='"abc"'), FAILED),
        (Conditions(if_match='"abc"', if_none_match='"abc"'), NOT_MODIFIED),
        (Conditions(if_modified_since=THEN), NOT_MODIFIED),
        (Conditions(if_modified_since=BEFORE), HOLDS),
        (Conditions(if_modified_since="yesterday"), HOLDS),
        (Conditions(if_modified_since=THEN, if_none_match='"x"'), HOLDS),
        (Conditions(if_unmodified_since=THEN), HOLDS),
        (Conditions(if_unmodified_since=BEFORE), FAILED),
        (Conditions(if_unmodified_since="99999999999999999999"), HOLDS),
        (Conditions(if_unmodified_since=BEFORE, if_match='"abc"'), HOLDS),
    ],
)
def test_conditions_are_judged_in_their_order(
    conditions: Conditions, verdict: Precondition
) -> None:
    assert conditions.judge(FILE) is verdict


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", ByteRange(0, 10)),
        ("BYTES=0-0", ByteRange(0, 1)),
        ("bytes=90-", ByteRange(90, 100)),
        ("bytes=90-1000", ByteRange(90, 100)),
        ("bytes=-10", ByteRange(90, 100)),
        ("bytes=-1000", ByteRange(0, 100)),
        ("bytes=9-8", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-", None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("lines=1-2", None),
        ("", None),
    ],
)
def test_one_range_is_cut_and_everything_else_is_the_whole_file(
    header: str, expected: ByteRange | None
) -> None:
    assert requested_range(header, None, 100, FILE) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_bytes_that_are_not_there_are_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError) as raised:
        requested_range(header, None, 100, FILE)
    assert raised.value.byte_count == 100


def test_an_empty_file_has_an_end_and_no_byte() -> None:
    assert requested_range("bytes=-5", None, 0, FILE) is None
    with pytest.raises(RangeNotSatisfiableError):
        requested_range("bytes=0-", None, 0, FILE)


@pytest.mark.parametrize(
    ("if_range", "is_cut"),
    [('"abc"', True), (THEN, True), ('W/"abc"', False), ('"abcd"', False), (BEFORE, False)],
)
def test_if_range_asks_for_the_same_file(if_range: str, *, is_cut: bool) -> None:
    assert (requested_range("bytes=0-9", if_range, 100, FILE) is not None) == is_cut


@given(size=st.integers(1, 10**6), first=st.integers(0, 10**6), last=st.integers(0, 10**7))
def test_a_part_lies_within_the_file(size: int, first: int, last: int) -> None:
    for header in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        try:
            part = requested_range(header, None, size, FILE)
        except RangeNotSatisfiableError:
            continue
        assert part is None or 0 <= part.start < part.end <= size
