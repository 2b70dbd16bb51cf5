"""A report type's extra parameters: their JSON Schema, and the SQL values they become."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from shared.report_request import DateRange, Violation

RANGE_PARAMETERS = ("from_date", "to_date")
"""What every report's SQL can use without declaring it."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BIGINT = range(-(2**63), 2**63)
_LONGEST_MESSAGE = 300


class SqlType(StrEnum):
    """PostgreSQL types that parameters are bound as."""

    TEXT = "text"
    DATE = "date"
    BIGINT = "bigint"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"


_SQL_TYPES = {
    "string": SqlType.TEXT,
    "integer": SqlType.BIGINT,
    "number": SqlType.NUMERIC,
    "boolean": SqlType.BOOLEAN,
}


@dataclass(frozen=True, slots=True)
class Binding:
    """One parameter's value, ready for the database driver; None is SQL NULL."""

    value: Any
    sql_type: SqlType
    is_array: bool = False

    @property
    def type_name(self) -> str:
        """The type as it is written in SQL."""
        return f"{self.sql_type}[]" if self.is_array else str(self.sql_type)


class ParametersError(ValueError):
    """The JSON Schema of a report type's parameters is wrong; `path` leads to the place in it."""

    def __init__(self, reason: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(reason)
        self.path = path


class Parameters:
    """The extra parameters that one report type takes.

    The JSON Schema's properties become SQL values: string is text (date with `format: date`),
    integer is bigint, number is numeric, boolean is boolean, an array of these is an array.
    Properties that the schema doesn't name are refused unless it says `additionalProperties`.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = {"type": "object", "additionalProperties": False, **schema}
        _check_schema(self._schema)
        self._types = {
            name: _sql_type(name, declared)
            for name, declared in self._schema.get("properties", {}).items()
        }
        self._validator = Draft202012Validator(
            self._schema, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
        self._defaults = dict(self._checked_defaults())
        # Most requests give none, and what is to be said of that is always the same.
        self._said_of_none = tuple(self._judged({}))

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema as it is applied."""
        return self._schema

    @property
    def names(self) -> frozenset[str]:
        """Names of the declared parameters."""
        return frozenset(self._types)

    def violations(self, values: Mapping[str, Any]) -> Iterable[Violation]:
        """Say what is wrong with the values of a request."""
        return self._judged(values) if values else self._said_of_none

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add the defaults of those that the request left out."""
        return {**self._defaults, **values}

    def bindings(self, values: Mapping[str, Any], dates: DateRange) -> dict[str, Binding]:
        """Turn the values of a request without violations into what SQL is given."""
        given = self.with_defaults(values)
        bound = {
            name: Binding(_sql_value(given.get(name), sql_type), sql_type, is_array)
            for name, (sql_type, is_array) in self._types.items()
        }
        bound["from_date"] = Binding(dates.from_date, SqlType.DATE)
        bound["to_date"] = Binding(dates.to_date, SqlType.DATE)
        return bound

    def _judged(self, values: Mapping[str, Any]) -> Iterator[Violation]:
        for error in self._validator.iter_errors(dict(values)):
            yield from _described(error)
        for name, value in values.items():
            sql_type, _ = self._types.get(name, (None, False))
            if sql_type is SqlType.BIGINT and _exceeds_bigint(value):
                yield Violation(
                    field=_pointer("parameters", name),
                    code="PARAMETER_INVALID",
                    message="must fit into 64 bits",
                )

    def _checked_defaults(self) -> Iterator[tuple[str, Any]]:
        for name, declared in self._schema.get("properties", {}).items():
            if "default" not in declared:
                continue
            default = declared["default"]
            if not self._validator.evolve(schema=declared).is_valid(default):
                raise ParametersError(
                    f"the default of {name} breaks its own schema", ("properties", name, "default")
                )
            yield name, default


def _check_schema(schema: Mapping[str, Any]) -> None:
    try:
        Draft202012Validator.check_schema(
            schema, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
    except SchemaError as error:
        raise ParametersError(_short(error.message), tuple(error.absolute_path)) from None
    if schema["type"] != "object":
        raise ParametersError("must describe an object", ("type",))
    for path, key in _keys(schema, ()):
        if key in {"$ref", "$dynamicRef"}:
            raise ParametersError(f"{key} is not supported; write the schema out", path)


def _keys(schema: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield (*path, key), key
            yield from _keys(value, (*path, key))
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from _keys(value, (*path, index))


def _sql_type(name: str, declared: Any) -> tuple[SqlType, bool]:
    path = ("properties", name)
    if not _NAME.fullmatch(name):
        raise ParametersError(f"the parameter name {name} can't be written as :name in SQL", path)
    if name in RANGE_PARAMETERS:
        raise ParametersError(f"{name} always comes from the date range; choose another name", path)
    kind = _single_type(declared)
    if kind == "array":
        kind, is_array = _single_type(declared.get("items")), True
        declared = declared.get("items")
    else:
        is_array = False
    if kind not in _SQL_TYPES:
        raise ParametersError(
            f"{name} needs a type of string, integer, number, boolean, or array of one of them",
            (*path, "type"),
        )
    if kind == "string" and declared.get("format") == "date":
        return SqlType.DATE, is_array
    return _SQL_TYPES[kind], is_array


def _single_type(declared: Any) -> str | None:
    """The one type that a property's schema admits beside null."""
    kinds = declared.get("type") if isinstance(declared, dict) else None
    if isinstance(kinds, list):
        kinds = [kind for kind in kinds if kind != "null"]
        kinds = kinds[0] if len(kinds) == 1 else None
    return kinds


def _sql_value(value: Any, sql_type: SqlType) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return [_sql_value(item, sql_type) for item in value]
    match sql_type:
        case SqlType.DATE:
            return date.fromisoformat(value)
        case SqlType.BIGINT:
            return int(value)  # JSON Schema takes 1.0 for an integer
        case SqlType.NUMERIC:
            return Decimal(str(value))
        case SqlType.TEXT | SqlType.BOOLEAN:
            return value


def _exceeds_bigint(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, int | float) and int(item) not in _BIGINT for item in items)


def _described(error: ValidationError) -> Iterator[Violation]:
    path = ("parameters", *error.absolute_path)
    schema: Any = error.schema
    instance: Any = error.instance
    required: Any = error.validator_value
    if error.validator == "additionalProperties" and isinstance(instance, dict):
        known = schema.get("properties", {})
        for name in instance:
            if name not in known:
                yield Violation(
                    field=_pointer(*path, name),
                    code="PARAMETER_UNKNOWN",
                    message="this report type has no such parameter",
                )
    elif error.validator == "required":
        for name in required:
            if name not in instance:
                yield Violation(
                    field=_pointer(*path, name),
                    code="PARAMETER_MISSING",
                    message="this parameter is required",
                )
    else:
        yield Violation(
            field=_pointer(*path), code="PARAMETER_INVALID", message=_short(error.message)
        )


def _pointer(*path: str | int) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _short(message: str) -> str:
    """A schema's message quotes the value, which may be as long as the whole request."""
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"
