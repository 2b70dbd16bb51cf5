"""Structured logs: one JSON object a line on standard error, library loggers included."""

import json
import logging
import sys
from typing import BinaryIO, Final, cast

import structlog
from pydantic_core import PydanticSerializationError, to_json

from shared.clock import rfc3339, utc_now

# The clients report every lost connection many times over; lines of our own say it once.
_LEAST_LEVELS: Final = {
    "aiokafka": logging.CRITICAL,
    "alembic": logging.WARNING,
    "kafka-transport": logging.ERROR,
    "uvicorn": logging.WARNING,
}
# Local variables hold connection URLs and requests.
_EXCEPTIONS: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class _Unfailing:
    """A stream for logs: a full disk or a reader that is gone must not end what is logged about.

    Nor must a stream that is closed, as it is while a process ends.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    # `suppress` would take as long as the writing; there is a line for each job's request.
    def write(self, line: bytes) -> None:
        try:
            self._stream.write(line)
        except (OSError, ValueError):
            return

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def configure_logging(*, service: str, level: str) -> None:
    """Send structlog and the standard library's loggers to standard error as JSON lines."""
    steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _EXCEPTIONS,
    ]
    heading = _heading(service)
    # Our own lines don't take the way through the standard library, which costs twice as much.
    structlog.configure(
        processors=[*steps, heading, structlog.processors.JSONRenderer(serializer=_json_bytes)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.BytesLoggerFactory(
            cast("BinaryIO", _Unfailing(sys.stderr.buffer))
        ),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*steps, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                heading,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in _LEAST_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def _heading(service: str) -> structlog.typing.Processor:
    """Put what every line has at its head, in one step: there is a line for each job's request."""

    def head(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        message = event.pop("event")
        return {"service": service, "time": rfc3339(utc_now()), "message": message, **event}

    return head


def _json_bytes(event: object, **_: object) -> bytes:
    try:
        return to_json(event, fallback=str)
    except PydanticSerializationError:  # text that isn't UTF-8, which JSON can escape
        return json.dumps(event, default=str).encode()
