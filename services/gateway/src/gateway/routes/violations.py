"""Says pydantic's validation errors in our words: JSON pointer, stable code, message."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from shared.report_request import Violation

_Said = Callable[[Mapping[str, Any]], str]

_WORDS: Final[dict[str, tuple[str, _Said]]] = {
    "missing": ("REQUIRED", lambda _: "is required"),
    "string_type": ("WRONG_TYPE", lambda _: "must be a string"),
    "bool_type": ("WRONG_TYPE", lambda _: "must be true or false"),
    "string_unicode": ("INVALID_VALUE", lambda _: "must be valid Unicode text"),
    "string_too_short": (
        "TOO_SHORT",
        lambda ctx: f"must have {ctx['min_length']} or more characters",
    ),
    "string_too_long": (
        "TOO_LONG",
        lambda ctx: f"must have {ctx['max_length']} or fewer characters",
    ),
    "string_pattern_mismatch": ("INVALID_VALUE", lambda ctx: f"must match {ctx['pattern']}"),
    "enum": ("NOT_ALLOWED", lambda ctx: f"must be one of {ctx['expected']}"),
    "dict_type": ("WRONG_TYPE", lambda _: "must be an object"),
    "model_type": ("WRONG_TYPE", lambda _: "must be an object"),
    "model_attributes_type": ("WRONG_TYPE", lambda _: "must be an object"),
    "int_parsing": ("WRONG_TYPE", lambda _: "must be a whole number"),
    "int_parsing_size": ("INVALID_VALUE", lambda _: "must be a number of fewer digits"),
    "value_error": ("INVALID_VALUE", lambda ctx: str(ctx["error"])),
}


def from_validation(errors: Sequence[Any], *, skip: int = 0) -> list[Violation]:
    """Translate pydantic's errors; the first `skip` parts of their places are left out."""
    return [_violation(error, skip) for error in errors]


def _violation(error: Mapping[str, Any], skip: int) -> Violation:
    code, said = _WORDS.get(error["type"], ("INVALID_VALUE", lambda _: error["msg"]))
    return Violation(
        field=_pointer(error["loc"][skip:]), code=code, message=said(error.get("ctx", {}))
    )


def _pointer(path: Sequence[str | int]) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
