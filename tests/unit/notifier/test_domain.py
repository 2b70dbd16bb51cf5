"""What follows from an attempt: the schedule, Retry-After and the end of a delivery."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.domain import (
    AttemptResult,
    Delivered,
    ErrorClass,
    Exhausted,
    Gone,
    Retry,
    RetrySchedule,
    judge,
    parse_retry_after,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEDULE = RetrySchedule()
DAY = timedelta(hours=24)


def failed(
    error: ErrorClass = ErrorClass.STATUS,
    status: int | None = 500,
    retry_after: str | None = None,
) -> AttemptResult:
    return AttemptResult(error, timedelta(seconds=1), status, retry_after)


def test_published_schedule() -> None:
    waits = [SCHEDULE.delay_after(attempt, chance=0) for attempt in range(1, 11)]
    hours = [timedelta(hours=hour) for hour in (2, 5, 10, 14, 20, 24)]
    expected = [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), *hours, None]
    assert waits == expected
    assert SCHEDULE.delays[0] == timedelta(0)


@given(st.integers(1, 9), st.floats(0, 1, exclude_max=True))
def test_jitter_only_lengthens_a_wait(attempt: int, chance: float) -> None:
    plain = SCHEDULE.delays[attempt]
    wait = SCHEDULE.delay_after(attempt, chance)
    assert wait is not None
    assert plain <= wait <= plain * 1.1


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_success_ends_the_delivery(status: int) -> None:
    result = AttemptResult(None, timedelta(0), status)
    assert judge(result, 1, NOW, SCHEDULE, 0) == Delivered()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ErrorClass.DNS, None),
        (ErrorClass.REFUSED_ADDRESS, None),
        (ErrorClass.CONNECT, None),
        (ErrorClass.TLS, None),
        (ErrorClass.TIMEOUT, None),
        (ErrorClass.RESET, None),
        (ErrorClass.PROTOCOL, None),
        (ErrorClass.STATUS, 101),
        (ErrorClass.STATUS, 302),
        (ErrorClass.STATUS, 404),
        (ErrorClass.STATUS, 500),
        (ErrorClass.STATUS, 503),
    ],
)
def test_every_failure_is_retried_by_the_schedule(error: ErrorClass, status: int | None) -> None:
    verdict = judge(failed(error, status), 1, NOW, SCHEDULE, chance=0)
    assert verdict == Retry(timedelta(seconds=5))


@pytest.mark.parametrize("error", list(ErrorClass))
def test_last_attempt_exhausts_whatever_failed(error: ErrorClass) -> None:
    assert judge(failed(error, None), 10, NOW, SCHEDULE, 0) == Exhausted()


def test_unknown_outcome_is_retried_at_once() -> None:
    verdict = judge(failed(ErrorClass.UNKNOWN, None), 5, NOW, SCHEDULE, chance=0.9)
    assert verdict == Retry(timedelta(0))


def test_gone_stops_at_once() -> None:
    assert judge(failed(status=410), 1, NOW, SCHEDULE, 0) == Gone()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_lengthens_the_wait_and_pauses_the_destination(status: int) -> None:
    verdict = judge(failed(status=status, retry_after="600"), 1, NOW, SCHEDULE, chance=0)
    assert verdict == Retry(timedelta(seconds=600), pause=timedelta(seconds=600))


def test_retry_after_never_shortens_the_wait() -> None:
    verdict = judge(failed(status=503, retry_after="60"), 4, NOW, SCHEDULE, chance=0)
    assert verdict == Retry(timedelta(hours=2), pause=timedelta(seconds=60))


@pytest.mark.parametrize("status", [301, 400, 500])
def test_retry_after_of_other_statuses_is_ignored(status: int) -> None:
    verdict = judge(failed(status=status, retry_after="600"), 1, NOW, SCHEDULE, chance=0)
    assert verdict == Retry(timedelta(seconds=5))


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("120", timedelta(seconds=120)),
        (" 7 ", timedelta(seconds=7)),
        ("0007", timedelta(seconds=7)),
        ("86400", DAY),
        ("1000000000", DAY),
        ("9" * 8000, DAY),
        (format_datetime(NOW + timedelta(minutes=3), usegmt=True), timedelta(minutes=3)),
        (format_datetime(NOW + timedelta(days=400), usegmt=True), DAY),
        ("Sunday, 01-Mar-26 12:05:00 GMT", timedelta(minutes=5)),
        ("Sun Mar  1 12:05:00 2026", timedelta(minutes=5)),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(text: str, wait: timedelta) -> None:
    assert parse_retry_after(text, NOW) == wait


@pytest.mark.parametrize(
    "text",
    [
        None, "", "0", "-1", "+5", "1.5", "1e9", "soon", "\u0663", "5 5", "0x10", "inf", "nan",
        "Sun, 01 Mar 2020 12:00:00 GMT", "Sun, 99 Foo 2026 99:99:99 GMT", "\x00", "\ufffd",
        "Sun, 01 Mar 99999999999 12:00:00 GMT", "1, 2 3 4 5", ",", ";" * 100,
    ],
)  # fmt: skip
def test_retry_after_that_is_past_or_senseless_is_ignored(text: str | None) -> None:
    assert parse_retry_after(text, NOW) == timedelta(0)


@given(st.text(max_size=60) | st.integers().map(str))
def test_any_retry_after_gives_a_wait_of_at_most_a_day(text: str) -> None:
    assert timedelta(0) <= parse_retry_after(text, NOW) <= DAY
