"""Holding requests against report types, and the SQL values they become."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue import Binding, Catalogue, ReportType, SqlType
from shared.report_request import ReportRequest

PROPERTIES = {
    "status": {"type": "string", "enum": ["NEW", "PAID"]},
    "since": {"type": ["string", "null"], "format": "date"},
    "top": {"type": "integer", "default": 10},
    "minimum": {"type": "number"},
    "paid": {"type": "boolean"},
    "regions": {"type": "array", "items": {"type": "string"}},
}
SQL = "SELECT :status, :since, :top, :minimum, :paid, :regions, :from_date, :to_date AS x"
DECLARED = {
    "name": "SALES",
    "title": "Sales",
    "source": "orders",
    "sql": SQL,
    "parameters": {"properties": PROPERTIES},
    "columns": [{"name": "x", "title": "X", "type": "text"}],
    "formats": ["CSV", "JSON"],
    "limits": {"max_span_days": 31},
}
REPORT = ReportType.model_validate(DECLARED)


def request(
    from_date: str = "2024-01-01",
    to_date: str = "2024-01-31",
    parameters: dict[str, Any] | None = None,
    **changes: Any,
) -> ReportRequest:
    body = {"reportType": "SALES", "dateRange": {"fromDate": from_date, "toDate": to_date}}
    return ReportRequest.model_validate({**body, "parameters": parameters or {}, **changes})


def codes(asked: ReportRequest) -> list[tuple[str, str]]:
    return [(violation.field, violation.code) for violation in REPORT.violations(asked)]


@given(st.integers(-(10**308), 10**308))
def test_every_whole_number_that_is_taken_can_be_judged_by_every_schema(number: int) -> None:
    declared = {
        **DECLARED,
        "sql": "SELECT :n, :from_date, :to_date AS x",
        "parameters": {"properties": {"n": {"type": "number", "multipleOf": 0.01}}},
    }
    found = ReportType.model_validate(declared).violations(request(parameters={"n": number}))
    assert {violation.field for violation in found} <= {"/parameters/n"}


def test_a_fitting_request_is_admitted() -> None:
    everything = {
        "status": "NEW", "since": None, "top": 3, "minimum": 1.5, "paid": True, "regions": ["EU"],
    }  # fmt: skip
    assert codes(request()) == []
    assert codes(request(parameters=everything)) == []
    assert codes(request(to_date="2024-01-01")) == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(to_date="2023-12-31"), [("/dateRange/toDate", "DATES_REVERSED")]),
        (request(to_date="2024-02-01"), [("/dateRange/toDate", "SPAN_TOO_LONG")]),
        (request(format="PDF"), [("/format", "FORMAT_NOT_OFFERED")]),
        (request(parameters={"status": "OLD"}), [("/parameters/status", "PARAMETER_INVALID")]),
        (request(parameters={"since": "2024-13-01"}), [("/parameters/since", "PARAMETER_INVALID")]),
        (request(parameters={"since": "20240101"}), [("/parameters/since", "PARAMETER_INVALID")]),
        (request(parameters={"top": 2**63}), [("/parameters/top", "PARAMETER_INVALID")]),
        (request(parameters={"top": 1e300}), [("/parameters/top", "PARAMETER_INVALID")]),
        (request(parameters={"top": True}), [("/parameters/top", "PARAMETER_INVALID")]),
        (request(parameters={"regions": [1]}), [("/parameters/regions/0", "PARAMETER_INVALID")]),
        (request(parameters={"a/b~": 1}), [("/parameters/a~1b~0", "PARAMETER_UNKNOWN")]),
        (
            request(to_date="2023-12-31", format="PDF", parameters={"x": 1, "y": 2}),
            [
                ("/dateRange/toDate", "DATES_REVERSED"),
                ("/format", "FORMAT_NOT_OFFERED"),
                ("/parameters/x", "PARAMETER_UNKNOWN"),
                ("/parameters/y", "PARAMETER_UNKNOWN"),
            ],
        ),
    ],
)
def test_what_does_not_fit_is_named_by_field_and_code(
    asked: ReportRequest, expected: list[tuple[str, str]]
) -> None:
    assert codes(asked) == expected


def test_a_required_parameter_that_is_missing_is_named() -> None:
    strict = ReportType.model_validate(
        {**DECLARED, "parameters": {"properties": PROPERTIES, "required": ["status"]}}
    )
    assert [(v.field, v.code) for v in strict.violations(request())] == [
        ("/parameters/status", "PARAMETER_MISSING")
    ]


def test_messages_do_not_repeat_a_long_value_in_full() -> None:
    (violation,) = REPORT.violations(request(parameters={"status": "x" * 60_000}))
    assert len(violation.message) <= 300


def test_an_unknown_report_type_is_a_violation_that_names_the_known_ones() -> None:
    catalogue = Catalogue([REPORT])
    (violation,) = catalogue.violations(request(reportType="SALESS"))
    assert (violation.field, violation.code) == ("/reportType", "UNKNOWN_REPORT_TYPE")
    assert "SALES" in violation.message
    assert catalogue.violations(request()) == []


def test_parameters_become_typed_sql_values() -> None:
    asked = request(
        parameters={"since": "2023-05-01", "top": 3.0, "minimum": 10.1, "regions": ["EU", "US"]}
    )
    assert REPORT.bindings(asked) == {
        "status": Binding(None, SqlType.TEXT),
        "since": Binding(date(2023, 5, 1), SqlType.DATE),
        "top": Binding(3, SqlType.BIGINT),
        "minimum": Binding(Decimal("10.1"), SqlType.NUMERIC),
        "paid": Binding(None, SqlType.BOOLEAN),
        "regions": Binding(["EU", "US"], SqlType.TEXT, is_array=True),
        "from_date": Binding(date(2024, 1, 1), SqlType.DATE),
        "to_date": Binding(date(2024, 1, 31), SqlType.DATE),
    }
    assert REPORT.bindings(asked)["regions"].type_name == "text[]"


def test_a_default_fills_in_for_a_parameter_that_is_left_out() -> None:
    assert REPORT.bindings(request())["top"].value == 10


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(-40, 80))
def test_a_span_is_admitted_exactly_up_to_its_limit(start: date, days: int) -> None:
    end = start + timedelta(days=days - 1)
    admitted = not REPORT.violations(request(start.isoformat(), end.isoformat()))
    assert admitted == (1 <= days <= 31)
