"""Reads the body of a submission: bounded in size and time, strict JSON, one meaning only."""

import asyncio
import codecs
import json
from typing import Any, Final, NoReturn

from pydantic import ValidationError
from starlette.requests import Request

from gateway.domain import RequestRefusedError
from gateway.routes.contract import GenerateReportRequest
from gateway.routes.problems import ProblemError, ProblemType
from gateway.routes.violations import from_validation
from shared.serving import has_come_whole

MAX_BODY_BYTES: Final = 64 * 1024
_CLOSE: Final = {"connection": "close"}
"""With an answer given before the body was read to its end: the rest of it isn't wanted."""


async def read_report_request(request: Request, body_timeout: float) -> GenerateReportRequest:
    """Return the well-formed request in the body; its meaning is still to be checked.

    Raises:
        ProblemError: for what is no JSON of acceptable size.
        RequestRefusedError: for JSON that doesn't fit the contract.

    """
    _check_media_type(request.headers.get("content-type"))
    _check_coding(request.headers.get("content-encoding", "identity"))
    _check_declared_length(request.headers.get("content-length"))
    document = parse_json(await _read(request, body_timeout))
    try:
        return GenerateReportRequest.model_validate(document)
    except ValidationError as error:
        violations = from_validation(error.errors(include_url=False, include_input=False))
        raise RequestRefusedError(violations) from None


def parse_json(body: bytes) -> Any:
    """Parse JSON that every reader understands in the same way (I-JSON, RFC 7493).

    A duplicate name, NaN, an infinity or a number of thousands of digits is refused: parsers
    differ on what they mean.

    Raises:
        ProblemError: saying where it stops being JSON.

    """
    if body.startswith(codecs.BOM_UTF8):
        raise _malformed("It begins with a byte order mark; leave that out.")
    try:
        return _JSON.decode(body.decode())
    except UnicodeDecodeError as error:
        raise _malformed(f"Byte {error.start} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _malformed(f"{error.msg} at {where}.") from None
    except RecursionError:
        raise _malformed("It is nested too deeply.") from None
    except _AmbiguousError as error:
        raise _malformed(str(error)) from None
    except ValueError:
        raise _malformed("It has a number of too many digits.") from None


def _check_media_type(content_type: str | None) -> None:
    media_type, _, parameters = (content_type or "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    if media_type.strip() != "application/json" or charset not in {"", "utf-8"}:
        raise ProblemError(
            ProblemType.UNSUPPORTED_MEDIA_TYPE,
            "Send the body as Content-Type: application/json, in UTF-8.",
            headers={"accept-post": "application/json", **_CLOSE},
        )


def _check_coding(content_encoding: str) -> None:
    if content_encoding.strip().lower() != "identity":
        raise ProblemError(
            ProblemType.UNSUPPORTED_MEDIA_TYPE,
            "Send the body as it is, without a Content-Encoding.",
            headers={"accept-encoding": "identity", **_CLOSE},
        )


def _check_declared_length(content_length: str | None) -> None:
    is_number = content_length is not None and content_length.isascii() and content_length.isdigit()
    if is_number and (len(content_length or "") > 15 or int(content_length or "") > MAX_BODY_BYTES):  # noqa: PLR2004
        raise _too_large()


async def _read(request: Request, seconds: float) -> bytes:
    if has_come_whole(request.scope):  # as nearly always
        return await _collect(request)
    try:
        async with asyncio.timeout(seconds):
            return await _collect(request)
    except TimeoutError:
        raise ProblemError(
            ProblemType.BODY_TIMEOUT,
            f"The body has to be complete within {seconds:g} seconds.",
            headers=_CLOSE,
        ) from None


async def _collect(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return body


class _AmbiguousError(ValueError):
    """Parsers differ on what this means. The message is public."""


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _AmbiguousError("An object has two members of one name.")
    return members


def _no_constant(name: str) -> NoReturn:
    raise _AmbiguousError(f"{name} is not a JSON number.")


_JSON: Final = json.JSONDecoder(object_pairs_hook=_unambiguous, parse_constant=_no_constant)
"""Kept, because `json.loads` would make such a decoder for each text."""


def _malformed(detail: str) -> ProblemError:
    return ProblemError(ProblemType.MALFORMED_JSON, detail)


def _too_large() -> ProblemError:
    return ProblemError(
        ProblemType.BODY_TOO_LARGE,
        f"A request may have {MAX_BODY_BYTES} bytes.",
        headers=_CLOSE,
    )
