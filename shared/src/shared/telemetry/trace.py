"""W3C trace context: the `traceparent` that a job carries from the client's request onwards."""

import re
import secrets
from typing import Final

_SPELLING: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)


def new_traceparent() -> str:
    """Return a traceparent that starts a trace of its own."""
    digits = secrets.token_hex(24)
    return f"00-{digits[:32]}-{digits[32:]}-01"


def accepted_traceparent(header: str | None) -> str:
    """Return a client's traceparent where it is well formed, else a new one."""
    if header and _SPELLING.fullmatch(header):
        return header
    return new_traceparent()


def trace_id(traceparent: str | None) -> str | None:
    """Return the trace id within, for log lines."""
    return traceparent.split("-")[1] if traceparent and _SPELLING.fullmatch(traceparent) else None
