"""The preference `wait` of a request (RFC 7240)."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.routes.sending import disconnection

_WAIT: Final = re.compile(r"""wait\s*=\s*("?)([0-9]{1,9})\1""", re.ASCII | re.IGNORECASE)
_T = TypeVar("_T")

PREFER_PARAMETER: Final[dict[str, Any]] = {
    "in": "header",
    "name": "Prefer",
    "required": False,
    "description": "`wait=N` holds the answer until the state changes, or N seconds have passed.",
    "schema": {"type": "string"},
    "example": "wait=30",
}
APPLIED_HEADER: Final[dict[str, Any]] = {
    "description": "`wait=N` where N seconds were granted; may be fewer than preferred.",
    "schema": {"type": "string"},
    "example": "wait=30",
}


def preferred_wait(request: Request, longest: int) -> int:
    """Return how many seconds the client is willing to wait, up to `longest`; 0 for not at all.

    As RFC 7240 has it, the first of several counts, and what isn't understood is no error.
    """
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        if found := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(found[2]), longest)
    return 0


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of `work`, or end it as soon as nobody is there to receive it.

    Raises:
        ClientDisconnect: where the client left first.

    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(disconnection(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
