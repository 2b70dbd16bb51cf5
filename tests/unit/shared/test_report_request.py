"""The request contract: what is taken, what is refused, and how it looks on the wire."""

import json
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.report_request import DateRange, ReportFormat, ReportRequest

REQUEST = {
    "reportType": "ORDERS_SUMMARY",
    "dateRange": {"fromDate": "2024-01-01", "toDate": "2024-01-31"},
}


def request_with(**changes: Any) -> ReportRequest:
    return ReportRequest.model_validate({**REQUEST, **changes})


def test_the_published_example_is_taken_and_defaults_to_csv() -> None:
    request = request_with(callbackUrl="https://client.example.com/hooks/report-completed")
    assert request.date_range == DateRange(from_date=date(2024, 1, 1), to_date=date(2024, 1, 31))
    assert request.date_range.days == 31
    assert request.format is ReportFormat.CSV
    assert request.parameters == {}


def test_the_wire_form_is_camel_case_and_reads_back() -> None:
    request = request_with(format="PDF", parameters={"status": "SHIPPED"})
    wire = request.model_dump_json(by_alias=True)
    assert json.loads(wire)["dateRange"] == REQUEST["dateRange"]
    assert ReportRequest.model_validate_json(wire) == request


def test_unknown_fields_are_ignored() -> None:
    assert request_with(priority="high") == request_with()


@pytest.mark.parametrize(
    "value",
    [
        "2024-1-1", "20240101", "2024-01-01T00:00:00", "2024-02-30", "2024-W01-1", " 2024-01-01",
        "2024-01-01\n", "\u0662024-01-01", "9999-01-01", "0000-01-01", "", 20240101, 1.5,
        1704067200, True, None, [], {},
    ],
)  # fmt: skip
def test_anything_but_a_plain_calendar_date_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        request_with(dateRange={"fromDate": "2024-01-01", "toDate": value})


@given(st.dates(max_value=date(9998, 12, 31)))
def test_every_date_that_is_taken_has_a_next_day(day: date) -> None:
    taken = DateRange.model_validate({"fromDate": day.isoformat(), "toDate": day.isoformat()})
    assert taken.to_date + timedelta(days=1) > day


@pytest.mark.parametrize(
    "changes",
    [
        {"format": None},
        {"format": "csv"},
        {"format": 1},
        {"reportType": ""},
        {"reportType": 7},
        {"reportType": None},
        {"dateRange": None},
        {"dateRange": {"fromDate": "2024-01-01"}},
        {"callbackUrl": 5},
        {"callbackUrl": "x" * 2049},
        {"parameters": None},
        {"parameters": []},
        {"parameters": {"status": "a\x00b"}},
        {"parameters": {"a\x00b": 1}},
        {"parameters": {"status": ["\ud800"]}},
        {"parameters": {"amount": float("nan")}},
        {"parameters": {"amount": {"min": float("inf")}}},
        {"parameters": {"amount": 10**400}},
        {"parameters": {"amounts": [-(10**309)]}},
        {"parameters": {"a": [[[[[[[[1]]]]]]]]}},
    ],
)
def test_wrong_types_and_unstorable_values_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request_with(**changes)


def test_nesting_without_end_is_refused_without_recursion() -> None:
    nested: Any = 1
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValidationError, match="nested deeper"):
        request_with(parameters={"a": nested})
