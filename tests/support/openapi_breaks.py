"""What a newer OpenAPI document takes away from clients of an older one.

A client of the old document sends what that allowed and reads what that promised. So requests may
only become wider, and answers only narrower. Two things are allowed although a strict reader may
mind: new properties, and new values of an enum in an answer, since clients are told to tolerate
both. What isn't judged: descriptions, examples, formats of strings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch")
_LOWER_BOUNDS: Final = ("minLength", "minimum", "minItems", "minProperties", "exclusiveMinimum")
_UPPER_BOUNDS: Final = ("maxLength", "maximum", "maxItems", "maxProperties", "exclusiveMaximum")
Json = Mapping[str, Any]


def breaking_changes(old: Json, new: Json) -> list[str]:
    """Return one line for each thing that a client of `old` can't rely on in `new`."""
    return list(_Comparison(old, new).paths(old["paths"], new["paths"]))


@dataclass(frozen=True)
class _Sides:
    """Two schemas: what the giver of a value may give, and what its taker must be able to take."""

    given: Json
    taken: Json
    given_in: Json
    taken_in: Json


@dataclass(frozen=True)
class _Comparison:
    old: Json
    new: Json

    def paths(self, old: Json, new: Json) -> Iterator[str]:
        for path, operations in old.items():
            for method in _METHODS:
                if method not in operations:
                    continue
                where = f"{method.upper()} {path}"
                if method not in new.get(path, {}):
                    yield f"{where}: is gone"
                else:
                    yield from self._operation(where, operations[method], new[path][method])

    def _operation(self, where: str, old: Json, new: Json) -> Iterator[str]:
        yield from self._security(where, old, new)
        yield from self._parameters(where, old, new)
        yield from self._body(f"{where} body", old, new, clients_send=True)
        for status, response in old.get("responses", {}).items():
            if status not in new.get("responses", {}):
                yield f"{where}: answer {status} is gone"
            else:
                answer = new["responses"][status]
                yield from self._answer(f"{where} {status}", response, answer)
        for name, expressions in old.get("callbacks", {}).items():
            for expression, item in expressions.items():
                for method in item:
                    kept = new.get("callbacks", {}).get(name, {}).get(expression, {}).get(method)
                    if kept is None:
                        yield f"{where}: callback {name} is gone"
                    else:
                        place = f"{where} callback {name}"
                        yield from self._body(place, item[method], kept, clients_send=False)

    def _security(self, where: str, old: Json, new: Json) -> Iterator[str]:
        """Each way in that there was has to be one still; more ways may come."""
        ways = new.get("security", [])
        if not ways:
            return
        for way in old.get("security", []) or [{}]:
            if not any(_asks_no_more(kept, way) for kept in ways):
                yield f"{where}: needs other credentials"

    def _parameters(self, where: str, old: Json, new: Json) -> Iterator[str]:
        before, after = _by_name(old), _by_name(new)
        for key, parameter in before.items():
            if key not in after:
                yield f"{where}: parameter {key[1]} is gone"
                continue
            place = f"{where} parameter {key[1]}"
            if after[key].get("required") and not parameter.get("required"):
                yield f"{place}: is required now"
            yield from self._sent(place, parameter.get("schema", {}), after[key].get("schema", {}))
        for key, parameter in after.items():
            if key not in before and parameter.get("required"):
                yield f"{where}: parameter {key[1]} is new and required"

    def _body(self, where: str, old: Json, new: Json, *, clients_send: bool) -> Iterator[str]:
        before, after = old.get("requestBody", {}), new.get("requestBody", {})
        if clients_send and after.get("required") and not before.get("required"):
            yield f"{where}: is required now"
        compare = self._sent if clients_send else self._read
        yield from self._contents(where, before, after, compare)

    def _answer(self, where: str, old: Json, new: Json) -> Iterator[str]:
        for name in old.get("headers", {}):
            if name not in new.get("headers", {}):
                yield f"{where}: header {name} is gone"
        yield from self._contents(where, old, new, self._read)

    def _contents(self, where: str, old: Json, new: Json, compare: Any) -> Iterator[str]:
        for media_type, content in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield f"{where}: {media_type} is gone"
            else:
                kept = new["content"][media_type]
                yield from compare(where, content.get("schema", {}), kept.get("schema", {}))

    def _sent(self, where: str, old: Json, new: Json) -> Iterator[str]:
        """Clients send: what the old schema allowed, the new one has to take."""
        sides = _Sides(given=old, taken=new, given_in=self.old, taken_in=self.new)
        yield from _mismatches(where, sides, is_answer=False, seen=frozenset())

    def _read(self, where: str, old: Json, new: Json) -> Iterator[str]:
        """Clients read: what the new schema gives, the old one has to have announced."""
        sides = _Sides(given=new, taken=old, given_in=self.new, taken_in=self.old)
        yield from _mismatches(where, sides, is_answer=True, seen=frozenset())


def _mismatches(
    where: str, sides: _Sides, *, is_answer: bool, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    """Tell where a value of `given` may not be one of `taken`."""
    names = (sides.given.get("$ref", ""), sides.taken.get("$ref", ""))
    if all(names):
        if names in seen:
            return
        seen |= {names}
    taken_variants = _variants(sides.taken, sides.taken_in)
    for given in _variants(sides.given, sides.given_in):
        found = [
            list(_variant_mismatches(where, given, taken, sides, is_answer=is_answer, seen=seen))
            for taken in taken_variants
        ]
        if all(found):
            yield from min(found, key=len)


def _variant_mismatches(  # noqa: PLR0913, RUF100 - one recursion carries all of it
    where: str,
    given: Json,
    taken: Json,
    sides: _Sides,
    *,
    is_answer: bool,
    seen: frozenset[tuple[str, str]],
) -> Iterator[str]:
    if not _types(given) <= _types(taken) and _types(taken):
        yield f"{where}: type {_said(given)} in the place of {_said(taken)}"
        return
    yield from _value_mismatches(where, given, taken, is_answer=is_answer)
    yield from _property_mismatches(where, given, taken, is_answer=is_answer)
    for name in given.get("properties", {}).keys() & taken.get("properties", {}).keys():
        part = _Sides(
            given["properties"][name], taken["properties"][name], sides.given_in, sides.taken_in
        )
        yield from _mismatches(f"{where} .{name}", part, is_answer=is_answer, seen=seen)
    if "items" in given and "items" in taken:
        part = _Sides(given["items"], taken["items"], sides.given_in, sides.taken_in)
        yield from _mismatches(f"{where} []", part, is_answer=is_answer, seen=seen)


def _value_mismatches(where: str, given: Json, taken: Json, *, is_answer: bool) -> Iterator[str]:
    allowed, values = _enum(taken), _enum(given)
    if allowed is not None and not is_answer and (values is None or not values <= allowed):
        yield f"{where}: fewer values are allowed"
    if is_answer:
        if allowed is not None and values is None:
            yield f"{where}: any value may come in the place of some"
        return
    if taken.get("pattern") not in {None, given.get("pattern")}:
        yield f"{where}: has another pattern"
    for bounds, is_tighter in ((_LOWER_BOUNDS, int.__gt__), (_UPPER_BOUNDS, int.__lt__)):
        for bound in bounds:
            limit, was = taken.get(bound), given.get(bound)
            if limit is not None and (was is None or is_tighter(limit, was)):
                yield f"{where}: {bound} is tighter"


def _property_mismatches(where: str, given: Json, taken: Json, *, is_answer: bool) -> Iterator[str]:
    for name in sorted(set(taken.get("required", ())) - set(given.get("required", ()))):
        yield f"{where}: .{name} {'may be missing' if is_answer else 'is required'} now"
    # In an answer `taken` is the older side, in a request `given` is.
    older, newer = (taken, given) if is_answer else (given, taken)
    for name in older.get("properties", {}):
        if name not in newer.get("properties", {}):
            yield f"{where}: .{name} is gone"
    closes = "additionalProperties"
    if not is_answer and taken.get(closes) is False and given.get(closes) is not False:
        yield f"{where}: further properties are refused now"


def _asks_no_more(way: Json, than: Json) -> bool:
    return all(
        scheme in than and set(scopes) <= set(than[scheme]) for scheme, scopes in way.items()
    )


def _by_name(operation: Json) -> dict[tuple[str, str], Json]:
    return {(one["in"], one["name"]): one for one in operation.get("parameters", [])}


def _variants(schema: Json, root: Json) -> list[Json]:
    """Return the alternatives of a schema, one type each, references followed."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _variants(target, root)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return [found for part in schema[word] for found in _variants(part, root)]
    if len(schema.get("allOf", ())) == 1:
        return _variants(schema["allOf"][0], root)
    types = _said_types(schema)
    return [{**schema, "type": one, "nullable": False} for one in types] if types[1:] else [schema]


def _types(schema: Json) -> set[str]:
    """Return the JSON types of a schema's values; none where it says nothing."""
    types = set(_said_types(schema))
    return types | {"integer"} if "number" in types else types


def _said_types(schema: Json) -> list[str]:
    said = schema.get("type", [])
    types = [said] if isinstance(said, str) else list(said)
    return [*types, "null"] if schema.get("nullable") else types


def _enum(schema: Json) -> set[Any] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None


def _said(schema: Json) -> str:
    return "/".join(sorted(_types(schema))) or "anything"
