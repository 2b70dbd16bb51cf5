"""What a failure means to a client: its code, its words, and whether it is tried again."""

import asyncpg
import pytest

from report_worker.reports.errors import (
    ErrorCode,
    from_source_error,
    store_unavailable,
    too_many_rows,
)
from shared.report_request import ReportFormat

SECRET = "password=hunter2 SELECT * FROM secrets"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(SECRET),
        TimeoutError(SECRET),
        asyncpg.InterfaceError(SECRET),
        asyncpg.ConnectionDoesNotExistError(SECRET),
        asyncpg.CannotConnectNowError(SECRET),
        asyncpg.AdminShutdownError(SECRET),
        asyncpg.TooManyConnectionsError(SECRET),
        asyncpg.InvalidPasswordError(SECRET),
        asyncpg.InvalidCatalogNameError(SECRET),
        asyncpg.SerializationError(SECRET),
    ],
)
def test_a_source_that_is_away_is_transient(error: Exception) -> None:
    judged = from_source_error(error, ran_seconds=1, limit_seconds=60)
    assert judged.transient
    assert judged.code == "REPORT_GENERATION_FAILED"
    assert judged.message == "Downstream data source unavailable."


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.PostgresSyntaxError(SECRET),
        asyncpg.UndefinedTableError(SECRET),
        asyncpg.InsufficientPrivilegeError(SECRET),
        asyncpg.DivisionByZeroError(SECRET),
        asyncpg.ReadOnlySQLTransactionError(SECRET),
    ],
)
def test_a_query_that_is_wrong_is_permanent_and_tells_nothing_of_itself(error: Exception) -> None:
    judged = from_source_error(error, ran_seconds=1, limit_seconds=60)
    assert not judged.transient
    assert judged.code is ErrorCode.GENERATION_FAILED
    assert "SELECT" not in str(judged)
    assert "hunter2" not in str(judged)


def test_a_canceled_query_is_a_time_limit_only_when_it_ran_that_long() -> None:
    error = asyncpg.QueryCanceledError("canceling statement")
    timed_out = from_source_error(error, ran_seconds=900.1, limit_seconds=900)
    assert (timed_out.code, timed_out.transient) == (ErrorCode.TIMED_OUT, False)
    assert "15 minutes" in timed_out.message
    assert from_source_error(error, ran_seconds=2, limit_seconds=900).transient


def test_our_own_limit_on_a_query_is_a_time_limit_and_a_shorter_wait_in_vain_is_none() -> None:
    timed_out = from_source_error(TimeoutError(), ran_seconds=915, limit_seconds=900)
    assert (timed_out.code, timed_out.transient) == (ErrorCode.TIMED_OUT, False)
    assert from_source_error(TimeoutError(), ran_seconds=10, limit_seconds=900).transient


def test_a_report_that_is_too_large_names_the_formats_that_would_do() -> None:
    error = too_many_rows(10_000, ReportFormat.PDF, list(ReportFormat))
    assert (error.code, error.transient) == ("REPORT_TOO_LARGE", False)
    assert "10,000 rows" in error.message
    assert "Ask for it as CSV, JSON or NDJSON, or for a shorter date range." in error.message


@pytest.mark.parametrize(
    ("refused", "offered", "advice"),
    [
        ("PDF", ["PDF", "CSV"], "Ask for it as CSV, or"),
        ("PDF", ["PDF", "XLSX"], "Ask for it as XLSX, or"),
        ("PDF", ["PDF"], "Ask for a shorter"),
        ("XLSX", ["XLSX", "PDF"], "Ask for a shorter"),
    ],
)
def test_only_formats_that_are_offered_and_hold_more_are_named(
    refused: str, offered: list[str], advice: str
) -> None:
    formats = [ReportFormat(name) for name in offered]
    assert advice in too_many_rows(10, ReportFormat(refused), formats).message


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (OSError(f"Client error with status code: 403: {SECRET}"), "OSError 403"),
        (OSError(28, f"No space left on {SECRET}"), "OSError 28"),
        (ConnectionError(SECRET), "ConnectionError"),
    ],
)
def test_of_a_store_s_error_the_log_has_the_class_and_the_number_alone(
    cause: Exception, reason: str
) -> None:
    error = store_unavailable(cause)
    error.__cause__ = cause
    assert error.reason == reason


def test_of_a_source_s_error_the_log_has_all_that_an_operator_needs() -> None:
    cause = asyncpg.UndefinedTableError('relation "shop.sales" does not exist')
    error = from_source_error(cause, ran_seconds=1, limit_seconds=60)
    error.__cause__ = cause
    assert 'relation "shop.sales" does not exist' in error.reason
