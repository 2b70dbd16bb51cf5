"""Whether a plugin and the report type that names it agree on columns, sources and parameters.

The report type's JSON Schema is what the gateway validates requests against, and it has no plugin
installed. So whatever the schema admits, the plugin's type has to take.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from report_worker.plugins import ReportPlugin
from shared.catalogue import ReportType

_PROPERTIES: Final = ("parameters", "properties")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A field of the report type, by its path in the file, that doesn't fit the plugin."""

    field: tuple[str | int, ...]
    reason: str


def disagreements(report_type: ReportType, plugin: ReportPlugin[Any]) -> Iterator[Disagreement]:
    """Hold a report type against its plugin; nothing is yielded where they agree."""
    declared = tuple(column.name for column in report_type.columns)
    if declared != plugin.columns:
        yield Disagreement(
            ("columns",), f"the plugin gives the columns {', '.join(plugin.columns)}"
        )
    for name in sorted(set(plugin.sources) - set(report_type.sources)):
        yield Disagreement(("sources",), f"the plugin reads the source {name}")
    try:
        adapter = TypeAdapter(plugin.parameters)
        taken = adapter.json_schema()
    except PydanticUserError as error:
        reason = f"the plugin's type of parameters has no JSON Schema: {error.message}"
        yield Disagreement(("plugin",), reason)
        return
    yield from _parameters(report_type, adapter, taken)


def _parameters(
    report_type: ReportType, adapter: TypeAdapter[Any], taken: Mapping[str, Any]
) -> Iterator[Disagreement]:
    schema = report_type.declared_parameters.schema
    declared: Mapping[str, Any] = schema.get("properties", {})
    certain = {*schema.get("required", ()), *(n for n, one in declared.items() if "default" in one)}
    for name in sorted(set(taken.get("required", ())) - certain):
        reason = f"the plugin needs {name}: declare it, as required or with a default"
        yield Disagreement((*_PROPERTIES, name), reason)
    for name, one in declared.items():
        if name not in taken.get("properties", {}):
            yield Disagreement((*_PROPERTIES, name), "the plugin takes no such parameter")
            continue
        surplus = _types(one, schema) - _types(taken["properties"][name], taken)
        if surplus:
            reason = f"admits {' and '.join(sorted(surplus))}, which the plugin doesn't take"
            yield Disagreement((*_PROPERTIES, name, "type"), reason)
            continue
        for path, value in _named_values(one):
            refusal = _refusal(adapter, name, value)
            if refusal is not None:
                reason = f"the plugin refuses {value!r}: {refusal}"
                yield Disagreement((*_PROPERTIES, name, *path), reason)


def _types(schema: Any, root: Mapping[str, Any]) -> frozenset[str]:
    """JSON types that a schema admits, as far as it says; a number may be an integer."""
    if "$ref" in schema:
        return _types(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return frozenset().union(*(_types(one, root) for one in schema["anyOf"]))
    named = schema.get("type", sorted(_ALL_TYPES))
    types = frozenset([named] if isinstance(named, str) else named)
    return types | {"integer"} if "number" in types else types


_ALL_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def _named_values(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The values that a property's schema names."""
    for index, value in enumerate(schema.get("enum", ())):
        yield ("enum", index), value
    for key in ("const", "default"):
        if key in schema:
            yield (key,), schema[key]


def _refusal(adapter: TypeAdapter[Any], name: str, value: Any) -> str | None:
    try:
        adapter.validate_python({name: value})
    except ValidationError as error:
        # Other parameters are missing here, which isn't this one's fault.
        for detail in error.errors(include_url=False, include_input=False):
            if detail["loc"][:1] == (name,):
                return detail["msg"]
    return None
