"""What has to agree between a plugin and the report type that names it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from report_worker.plugins import Report, ReportPlugin, Row
from report_worker.plugins.agreement import disagreements
from shared.catalogue import ReportType
from tests.support.plugins import DECLARED


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Model(BaseModel):
    currency: Literal["EUR", "USD"]
    size: Size = Size.SMALL
    least: Decimal | None = None
    tags: list[str] = []
    days: int = 7


@dataclass
class Plain:
    currency: str
    days: int = 7


async def rows(_report: Report[Any]) -> AsyncGenerator[Sequence[Row], None]:
    yield []


def found(
    parameters: type[Any] = Model, schema: dict[str, Any] | None = None, **changes: Any
) -> dict[str, str]:
    """The disagreements by field."""
    plugin = ReportPlugin(
        rows, columns=("day", "total"), parameters=parameters, sources=("orders",)
    )
    declared = {**DECLARED, "sources": ["orders"], "parameters": schema or {}, **changes}
    report_type = ReportType.model_validate(declared)
    return {".".join(map(str, one.field)): one.reason for one in disagreements(report_type, plugin)}


CURRENCY = {"type": "string", "enum": ["EUR", "USD"], "default": "EUR"}


@pytest.mark.parametrize("parameters", [Model, Plain])
@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"currency": CURRENCY}},
        {"properties": {"currency": {"type": "string"}}, "required": ["currency"]},
        {"properties": {"currency": CURRENCY, "days": {"type": "integer", "minimum": 1}}},
    ],
)
def test_a_schema_that_admits_no_more_than_the_plugin_takes_agrees(
    parameters: type[Any], schema: dict[str, Any]
) -> None:
    assert found(parameters, schema) == {}


def test_all_kinds_of_parameters_agree() -> None:
    properties = {
        "currency": CURRENCY,
        "size": {"type": "string", "enum": ["small"]},
        "least": {"type": ["number", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    }
    assert found(schema={"properties": properties}) == {}


@pytest.mark.parametrize(
    ("properties", "field", "reason"),
    [
        ({}, "parameters.properties.currency", "the plugin needs currency"),
        (
            {"currency": {"type": "string"}},
            "parameters.properties.currency",
            "declare it, as required or with a default",
        ),
        (
            {"currency": CURRENCY, "region": {"type": "string"}},
            "parameters.properties.region",
            "the plugin takes no such parameter",
        ),
        (
            {"currency": CURRENCY, "days": {"type": "number"}},
            "parameters.properties.days.type",
            "admits number, which the plugin doesn't take",
        ),
        (
            {"currency": CURRENCY, "days": {"type": ["integer", "null"]}},
            "parameters.properties.days.type",
            "admits null, which the plugin doesn't take",
        ),
        (
            {"currency": {**CURRENCY, "enum": ["EUR", "GBP"]}},
            "parameters.properties.currency.enum.1",
            "the plugin refuses 'GBP': Input should be 'EUR' or 'USD'",
        ),
        (
            {"currency": CURRENCY, "size": {"type": "string", "default": "huge"}},
            "parameters.properties.size.default",
            "the plugin refuses 'huge'",
        ),
    ],
)
def test_a_schema_that_admits_more_is_named_with_its_field(
    properties: dict[str, Any], field: str, reason: str
) -> None:
    assert reason in found(schema={"properties": properties})[field]


def test_columns_and_sources_have_to_be_the_plugins() -> None:
    columns = [DECLARED["columns"][1], DECLARED["columns"][0]]
    schema = {"properties": {"currency": CURRENCY}}
    assert found(schema=schema, columns=columns, sources=["rates"]) == {
        "columns": "the plugin gives the columns day, total",
        "sources": "the plugin reads the source orders",
    }
