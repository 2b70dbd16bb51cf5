"""What a client asks for: the report request as every service reads it, and how it can be wrong."""

import math
import re
import sys
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema
from pydantic.alias_generators import to_camel

MAX_PARAMETER_DEPTH = 8
"""Levels of nesting that a request's parameters may have."""

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_LAST_DATE = date(9998, 12, 31)
_FORBIDDEN_CHARACTER = re.compile("[\x00\ud800-\udfff]")


class ReportFormat(StrEnum):
    """The file formats that a report can be had in."""

    CSV = "CSV"
    JSON = "JSON"
    NDJSON = "NDJSON"
    PDF = "PDF"
    XLSX = "XLSX"


def _strict_date(value: object) -> date:
    """Take a `YYYY-MM-DD` string (or a date from our own code) whose next day exists too.

    A report covers whole days, so every reader adds a day to the last one; the upper bound keeps
    that inside what both Python and PostgreSQL can hold.
    """
    if isinstance(value, str) and _ISO_DATE.fullmatch(value):
        value = date.fromisoformat(value)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(  # noqa: TRY004 - pydantic reports a ValueError, a TypeError would escape
            "must be a calendar date written as YYYY-MM-DD"
        )
    if value > _LAST_DATE:
        raise ValueError(f"must not be after {_LAST_DATE}")
    return value


def _storable(parameters: object) -> object:
    """Refuse what JSON admits but PostgreSQL or UTF-8 can't hold, and nesting without end."""
    pending: list[tuple[Any, int]] = [(parameters, 1)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_PARAMETER_DEPTH:
            raise ValueError(f"must not be nested deeper than {MAX_PARAMETER_DEPTH} levels")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("must hold finite numbers only")
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            # Readers of JSON that know no larger number make it infinite, or fail.
            raise ValueError("must hold no whole numbers beyond 1.8e308")
        if isinstance(value, str) and _FORBIDDEN_CHARACTER.search(value):
            raise ValueError("must not hold NUL characters or lone surrogates")
        if isinstance(value, dict):
            pending.extend((part, depth) for part in value)
            pending.extend((part, depth + 1) for part in value.values())
        elif isinstance(value, list):
            pending.extend((part, depth + 1) for part in value)
    return parameters


CalendarDate = Annotated[
    date,
    BeforeValidator(_strict_date),
    WithJsonSchema({"type": "string", "format": "date"}),
]
Parameters = Annotated[dict[str, JsonValue], BeforeValidator(_storable)]


class _Contract(BaseModel):
    """camelCase outside, snake_case inside; fields of a later version are ignored."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class DateRange(_Contract):
    """Whole days in UTC, the first and the last one included."""

    from_date: CalendarDate = Field(description="First day of the report, in UTC.")
    to_date: CalendarDate = Field(description="Last day of the report, in UTC; included.")

    @property
    def days(self) -> int:
        """Number of days covered; zero or less when the ends are the wrong way round."""
        return (self.to_date - self.from_date).days + 1


class ReportRequest(_Contract):
    """One report that a client asked for, well formed but not yet held against the catalogue."""

    report_type: str = Field(
        min_length=1,
        max_length=100,
        description="Name of a report type from the catalogue.",
        examples=["ORDERS_SUMMARY"],
    )
    date_range: DateRange
    format: ReportFormat = Field(default=ReportFormat.CSV, description="File format.")
    callback_url: str | None = Field(
        default=None,
        max_length=2048,
        description="Where to POST the signed webhook when the job has ended.",
        examples=["https://client.example.com/hooks/report-completed"],
    )
    parameters: Parameters = Field(
        default_factory=dict,
        description="Further parameters, as the report type declares them.",
    )


class Violation(_Contract):
    """One reason why a request is refused, for a client to act on."""

    field: str = Field(description="JSON pointer to the field, such as /dateRange/toDate.")
    code: str = Field(description="Stable code, such as SPAN_TOO_LONG.")
    message: str = Field(description="The reason, for people.")
