"""Page tokens and sizes."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import (
    JobFilter,
    JobStatus,
    PageTokenError,
    clamp_page_size,
    read_page_token,
    write_page_token,
)
from shared.job_id import JobId

JOB = JobId("job_" + "0123456789abcdefghijklmnopqrstuv01234567")
PLUS_TWO = timezone(timedelta(hours=2))
FILTER = JobFilter(
    status=JobStatus.FAILED,
    report_type="ORDERS_SUMMARY",
    created_after=datetime(2024, 1, 1, tzinfo=UTC),
    created_before=datetime(2024, 2, 1, tzinfo=UTC),
)


@pytest.mark.parametrize("chosen", [JobFilter(), FILTER])
def test_a_token_leads_back_to_its_position(chosen: JobFilter) -> None:
    assert read_page_token(chosen, write_page_token(chosen, JOB)) == JOB


def test_the_same_moment_in_another_zone_is_the_same_filter() -> None:
    elsewhere = replace(FILTER, created_after=datetime(2024, 1, 1, 2, tzinfo=PLUS_TWO))
    assert read_page_token(elsewhere, write_page_token(FILTER, JOB)) == JOB


@pytest.mark.parametrize(
    "other",
    [
        JobFilter(),
        replace(FILTER, status=JobStatus.PENDING),
        replace(FILTER, status=None),
        replace(FILTER, report_type="ORDERS_DETAIL"),
        replace(FILTER, created_after=None),
        replace(FILTER, created_before=datetime(2024, 2, 2, tzinfo=UTC)),
    ],
)
def test_a_token_of_a_listing_with_other_filters_is_refused(other: JobFilter) -> None:
    with pytest.raises(PageTokenError, match="other filters"):
        read_page_token(other, write_page_token(FILTER, JOB))


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "job_12345",
        "é",
        "\udcff",
        "a" * 10_000,
        "%00",
        base64.urlsafe_b64encode(b"\xff" * 50).decode(),
        write_page_token(JobFilter(), JOB)[:-4],
        write_page_token(JobFilter(), JOB) + "AAAA",
        " " + write_page_token(JobFilter(), JOB),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(token: str) -> None:
    with pytest.raises(PageTokenError):
        read_page_token(JobFilter(), token)


@given(st.text())
def test_no_text_at_all_is_more_than_refused(token: str) -> None:
    with pytest.raises(PageTokenError):
        read_page_token(JobFilter(), token)


@pytest.mark.parametrize(("asked", "served"), [(-5, 1), (0, 1), (1, 1), (100, 100), (10**30, 100)])
def test_page_sizes_are_brought_into_range(asked: int, served: int) -> None:
    assert clamp_page_size(asked) == served
