"""One report type: what an operator's file declares, and which requests it admits."""

from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared.catalogue.parameters import RANGE_PARAMETERS, Binding, Parameters, ParametersError
from shared.catalogue.sql import SqlTemplate, SqlTemplateError, parse_sql
from shared.report_request import ReportFormat, ReportRequest, Violation

SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
ColumnName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=63)]


class _Declared(BaseModel):
    """Part of an operator's file: a field that isn't known is a typo, and refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnType(StrEnum):
    """What a column holds, which decides how each format writes it."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    TIMESTAMP = "timestamp"
    BOOLEAN = "boolean"


class Column(_Declared):
    """One column of the report: a column of the query, by name."""

    name: ColumnName
    title: str = Field(min_length=1, max_length=80)
    type: ColumnType
    scale: int | None = Field(
        default=None, ge=0, le=18, description="Digits after the point that a decimal is given."
    )

    @property
    def is_numeric(self) -> bool:
        """Whether the column can be summed; numbers stand at the right of their cells."""
        return self.type in {ColumnType.INTEGER, ColumnType.DECIMAL}

    @model_validator(mode="after")
    def _scale_is_for_decimals(self) -> Self:
        if self.scale is not None and self.type is not ColumnType.DECIMAL:
            raise _wrong("scale is for columns of type decimal", "scale")
        return self


class Limits(_Declared):
    """What one report of the type may cost."""

    max_span_days: int = Field(default=366, ge=1, description="Days that a date range may cover.")
    max_pdf_rows: int = Field(
        default=10_000, ge=1, le=100_000, description="Rows that are still typeset as PDF."
    )
    statement_timeout: timedelta = Field(
        default=timedelta(minutes=15),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="Time that the query may run while its rows are taken, as PT15M or in seconds.",
    )
    queue_ttl: timedelta = Field(
        default=timedelta(days=1),
        ge=timedelta(seconds=1),
        le=timedelta(days=30),
        description="Time that a run may wait for its first attempt before it is EXPIRED.",
    )
    max_duration: timedelta = Field(
        default=timedelta(hours=1),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="Time that one attempt may take as a whole before it is TIMED_OUT.",
    )


class Chart(_Declared):
    """The picture at the head of the PDF: one mark per distinct label, in the order of the rows."""

    kind: Literal["bar", "line"]
    title: str = Field(min_length=1, max_length=120)
    label: ColumnName
    value: ColumnName | None = Field(
        default=None, description="Column summed for each label; rows are counted without it."
    )


class Totals(_Declared):
    """The sums at the foot of the PDF's table."""

    columns: tuple[ColumnName, ...]
    by: ColumnName | None = Field(
        default=None, description="Column whose values are summed apart, such as the currency."
    )


class PdfOptions(_Declared):
    """How the type looks as PDF."""

    chart: Chart | None = None
    totals: Totals | None = None


class ReportType(_Declared):
    """A kind of report that clients can ask for by name."""

    name: str = Field(pattern=r"^[A-Z][A-Z0-9_]+$", max_length=100)
    title: str = Field(min_length=1, max_length=120)
    description: str = Field(default="", max_length=2000)
    source: SourceName | None = Field(default=None, description="Data source that the SQL reads.")
    sql: str | None = None
    plugin: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9-]*$",
        max_length=100,
        description="Name of an entry point that makes the rows, instead of SQL.",
    )
    sources: tuple[SourceName, ...] = Field(
        default=(), description="Data sources that the plugin reads."
    )
    parameters: dict[str, Any] = Field(default_factory=dict)
    columns: tuple[Column, ...] = Field(max_length=200)
    formats: tuple[ReportFormat, ...] = tuple(ReportFormat)
    limits: Limits = Limits()
    pdf: PdfOptions = PdfOptions()
    defuse_formulas: bool = Field(
        default=True,
        description="Put an apostrophe before text that a spreadsheet would run as a formula.",
    )

    @cached_property
    def query(self) -> SqlTemplate:
        """The SQL with its named parameters found; a plugin's type has none."""
        return parse_sql(self.sql or "")

    @property
    def source_names(self) -> tuple[str, ...]:
        """The data sources that a report of this type reads."""
        return self.sources if self.source is None else (self.source,)

    @cached_property
    def declared_parameters(self) -> Parameters:
        """The extra parameters with their schema."""
        return Parameters(self.parameters)

    def violations(self, request: ReportRequest) -> list[Violation]:
        """Say why this type refuses the request; an empty list admits it."""
        found = [*self._date_violations(request), *self._format_violations(request)]
        found.extend(self.declared_parameters.violations(request.parameters))
        return found

    def bindings(self, request: ReportRequest) -> dict[str, Binding]:
        """Give the SQL values of an admitted request, the date range's included."""
        return self.declared_parameters.bindings(request.parameters, request.date_range)

    def _date_violations(self, request: ReportRequest) -> list[Violation]:
        days, limit = request.date_range.days, self.limits.max_span_days
        if days < 1:
            code, message = "DATES_REVERSED", "must not be before fromDate"
        elif days > limit:
            code = "SPAN_TOO_LONG"
            message = f"the range covers {days} days; {self.name} takes at most {limit}"
        else:
            return []
        return [Violation(field="/dateRange/toDate", code=code, message=message)]

    def _format_violations(self, request: ReportRequest) -> list[Violation]:
        if request.format in self.formats:
            return []
        message = f"{self.name} is offered as {', '.join(self.formats)}"
        return [Violation(field="/format", code="FORMAT_NOT_OFFERED", message=message)]

    @field_validator("sql")
    @classmethod
    def _sql_is_one_query(cls, sql: str | None) -> str | None:
        if sql is None:
            return None
        try:
            parse_sql(sql)
        except SqlTemplateError as error:
            raise _wrong(f"line {error.line} of the SQL: {error}") from None
        return sql

    @field_validator("parameters")
    @classmethod
    def _parameters_are_a_schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
        try:
            Parameters(schema)
        except ParametersError as error:
            raise _wrong(str(error), *error.path) from None
        return schema

    @field_validator("formats")
    @classmethod
    def _formats_are_distinct(cls, formats: tuple[ReportFormat, ...]) -> tuple[ReportFormat, ...]:
        if not formats:
            raise _wrong("names no format")
        if len(set(formats)) < len(formats):
            raise _wrong("names a format twice")
        return formats

    @field_validator("columns")
    @classmethod
    def _columns_are_distinct(cls, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        if not columns:
            raise _wrong("declares no column")
        seen: set[str] = set()
        for index, column in enumerate(columns):
            if column.name in seen:
                raise _wrong(f"column {column.name} is declared twice", index, "name")
            seen.add(column.name)
        return columns

    @field_validator("sources")
    @classmethod
    def _sources_are_distinct(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sources)) < len(sources):
            raise _wrong("names a source twice")
        return sources

    @model_validator(mode="after")
    def _rows_come_from_sql_or_a_plugin(self) -> Self:
        if self.sql is None and self.plugin is None:
            raise _wrong("is missing: give the SQL, or the plugin that makes the rows", "sql")
        if self.sql is not None and self.plugin is not None:
            raise _wrong("can't be given beside sql", "plugin")
        if self.sql is not None and self.source is None:
            raise _wrong("is missing: name the data source that the SQL reads", "source")
        if self.sql is not None and self.sources:
            raise _wrong("is for plugins; SQL reads one source", "sources")
        if self.plugin is not None and self.source is not None:
            raise _wrong("is for SQL; a plugin's are named in sources", "source")
        return self

    @model_validator(mode="after")
    def _sql_and_parameters_agree(self) -> Self:
        if self.sql is None:
            return self
        used, declared = self.query.parameter_names, self.declared_parameters.names
        for name in sorted(used - declared - set(RANGE_PARAMETERS)):
            raise _wrong(
                f":{name} is not a declared parameter (for an array slice, put a space after the"
                " colon)",
                "sql",
            )
        for name in sorted(declared - used):
            raise _wrong(f"the SQL never uses :{name}", "parameters", "properties", name)
        return self

    @model_validator(mode="after")
    def _pdf_names_columns(self) -> Self:
        chart, totals = self.pdf.chart, self.pdf.totals
        if chart is not None:
            self._require_column(chart.label, "pdf", "chart", "label")
        if chart is not None and chart.value is not None:
            self._require_number(chart.value, "pdf", "chart", "value")
        if totals is not None:
            for index, name in enumerate(totals.columns):
                self._require_number(name, "pdf", "totals", "columns", index)
        if totals is not None and totals.by is not None:
            self._require_column(totals.by, "pdf", "totals", "by")
        if totals is not None and self.columns[0].name in totals.columns:
            raise _wrong("the first column holds the word Total", "pdf", "totals", "columns")
        return self

    def _require_column(self, name: str, *path: str | int) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise _wrong(f"{name} is not a declared column", *path)

    def _require_number(self, name: str, *path: str | int) -> None:
        if not self._require_column(name, *path).is_numeric:
            raise _wrong(f"{name} is not an integer or decimal column", *path)


def _wrong(reason: str, *path: str | int) -> PydanticCustomError:
    """Make an error whose place is deeper than the field that pydantic reports it for."""
    return PydanticCustomError("report_type", "{reason}", {"reason": reason, "path": path})
