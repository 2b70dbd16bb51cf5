"""The Idempotency-Key header: as the IETF draft spells it, a quoted string, or bare."""

import re
from typing import Any, Final

from starlette.requests import Request

from gateway.routes.problems import ProblemError, ProblemType

MAX_KEY_LENGTH: Final = 255
_HEADER: Final = "idempotency-key"
# A String of RFC 9651 without parameters, and what clients send bare: UUIDs, ULIDs, base64, paths.
_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"', re.ASCII)
_BARE: Final = re.compile(r"[!#-+\--:<-\[\]-~]+", re.ASCII)
_ESCAPED: Final = re.compile(r'\\(["\\])')

PARAMETER: Final[dict[str, Any]] = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "description": "Makes the request safe to repeat: with one key it becomes one job, however"
    " often it is sent, and each answer is the first one. A quoted string of 1 to"
    f" {MAX_KEY_LENGTH} printable ASCII characters, such as a UUID; the quotes may be left out"
    " where it has no space, quote, backslash, comma or semicolon. Keys are the tenant's own, and"
    " are remembered until the job expires, at least 24 hours.",
    "schema": {"type": "string", "minLength": 1},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}
REPLAYED_HEADER: Final[dict[str, Any]] = {
    "description": "`true` where the Idempotency-Key had become this job before.",
    "schema": {"type": "string", "enum": ["true"]},
}


def read_key(request: Request) -> str | None:
    """Return the key that a request carries; the same quoted and bare.

    Raises:
        ProblemError: for what is no key.

    """
    values = request.headers.getlist(_HEADER)
    if not values:
        return None
    if len(values) > 1:
        raise _invalid("The header is there more than once.")
    key = _parse(values[0].strip(" \t"))
    if key is None:
        raise _invalid('Write it as a quoted string, such as "8e03978e-40d5-43dd-bc93".')
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise _invalid(f"A key has 1 to {MAX_KEY_LENGTH} characters.")
    return key


def _parse(value: str) -> str | None:
    if quoted := _QUOTED.fullmatch(value):
        return _ESCAPED.sub(r"\1", quoted[1])
    return value if _BARE.fullmatch(value) else None


def _invalid(detail: str) -> ProblemError:
    return ProblemError(ProblemType.IDEMPOTENCY_KEY_INVALID, detail)
