"""uvicorn's HTTP protocol, with the limits that it lacks.

uvicorn parses a request's head however long it is and however long it takes; a client that leaves
its answers unread, or a body half sent, keeps its connection for ever; and past its limit of
connections it refuses health probes too. The application can't see any of that, so the limits are
here, where the bytes arrive. The routes' own bodies stay the routes' business.
"""

import asyncio
import json
import logging
import resource
from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import ClassVar, Final

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.telemetry.metrics import HTTP_REFUSALS

_RESERVE: Final = 64
"""Connections beyond the limit that are taken to be asked for a probe."""
_OTHER_FILES: Final = 256
"""What a process opens beside its clients' connections."""
_PROBES: Final = frozenset({b"/livez", b"/readyz", b"/metrics"})
_LINES_PER_HEAD: Final = 128
_TELL_EVERY: Final = 10.0
_RETRY_AFTER: Final = 1

_log = structlog.get_logger()
# Anybody can cause uvicorn's warnings, as many as they like: refusals are told in sums instead.
_quiet = logging.getLogger("uvicorn.error.connection")
_quiet.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Sizes in bytes, times in seconds."""

    connections: int = 5000
    head_bytes: int = 16 * 1024
    url_bytes: int = 8 * 1024
    head_seconds: float = 10.0
    unread_seconds: float = 60.0
    """How long a client may leave what it is sent unread."""


class _Phase(Enum):
    """Which part of a request comes next."""

    HEAD = auto()
    BODY = auto()
    DONE = auto()


class _RefusedError(Exception):
    """Ends the parsing of a request."""


class _Refusals:
    """Counts what was refused, in the metrics at once and in the log now and then."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        if not self._counts:
            asyncio.get_running_loop().call_later(_TELL_EVERY, self._tell)
        self._counts[reason] += 1
        HTTP_REFUSALS.labels(reason).inc()

    def _tell(self) -> None:
        _log.warning("requests refused before they were routed", **self._counts)
        self._counts.clear()


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. Whatever exceeds a limit is answered with a problem, and then closed."""

    limits: ClassVar[HttpLimits] = HttpLimits()
    _refusals: ClassVar[_Refusals] = _Refusals()

    _phase = _Phase.DONE
    _head_size = 0
    _unparsed = 0
    _hosts = 0
    _is_surplus = False
    _refusal: tuple[HTTPStatus, str] | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a surplus connection may still ask for a probe."""
        super().connection_made(transport)
        self.logger = _quiet
        open_ones = len(self.connections)
        self._is_surplus = open_ones > self.limits.connections
        if open_ones > self.limits.connections + _RESERVE:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections.")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and forget the timers."""
        super().connection_lost(exc)
        self._stop_timers()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and look at what is still unfinished then."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._phase is _Phase.HEAD:
            # The parser keeps an unfinished line to itself.
            self._unparsed += len(data)
            self._await_head()
            if self._unparsed > self.limits.head_bytes + self.limits.url_bytes:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head is too large.")
        elif self._phase is _Phase.BODY and self.cycle.response_complete:
            self._close_unfinished()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._phase, self._head_size, self._unparsed, self._hosts = _Phase.HEAD, 0, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        super().on_url(url)
        if len(self.url) > self.limits.url_bytes:
            self._stop(
                HTTPStatus.REQUEST_URI_TOO_LONG, f"A URL may have {self.limits.url_bytes} bytes."
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of the head."""
        super().on_header(name, value)
        lowered = name.lower()
        if lowered == b"host":
            self._hosts += 1
        elif lowered == b"transfer-encoding" and value.lower() != b"chunked":
            # The parser finds that out only after the request was passed on.
            self._stop(HTTPStatus.BAD_REQUEST, "No transfer coding but chunked is understood.")
        self._head_size += len(name) + len(value)
        if self._head_size > self.limits.head_bytes or len(self.headers) > _LINES_PER_HEAD:
            self._stop(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"A head may have {_LINES_PER_HEAD} lines and {self.limits.head_bytes} bytes.",
            )

    def on_headers_complete(self) -> None:
        """The head is whole: pass the request on, or not."""
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            self._stop(HTTPStatus.BAD_REQUEST, "A head has to have one line Host.")
        if self._is_surplus and self.url.partition(b"?")[0] not in _PROBES:
            self._stop(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections. Try again.")
        self._phase = _Phase.BODY
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._phase = _Phase.DONE
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answered. A body that is still on its way isn't waited for."""
        super().on_response_complete()
        if self._phase is _Phase.BODY:
            self._close_unfinished()

    def has_come_whole(self) -> bool:
        """Tell whether all requests that have begun to come are here to their ends."""
        return self._phase is _Phase.DONE

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser stopped at, for its reason or for ours."""
        status, detail = self._refusal or (HTTPStatus.BAD_REQUEST, msg)
        self._refuse(status, detail)

    def pause_writing(self) -> None:
        """The client is slow to read."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self.limits.unread_seconds, self._abort)

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked. To close politely would be to wait for an unread answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._phase is _Phase.HEAD:
            detail = f"A head has to be complete within {self.limits.head_seconds:g} seconds."
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, detail)
        else:
            self.transport.close()  # nothing was asked

    def _close_unfinished(self) -> None:
        self._refusals.add("body_unfinished")
        self.transport.close()

    def _abort(self) -> None:
        self._refusals.add("answer_unread")
        self.transport.abort()

    def _stop(self, status: HTTPStatus, detail: str) -> None:
        """Have the parser stop, which then calls `send_400_response`."""
        self._refusal = (status, detail)
        raise _RefusedError(detail)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        self._refusals.add(status.name.lower())
        self._stop_timers()
        if self._may_answer():
            self.transport.write(_problem(status, detail))
        self.transport.close()

    def _may_answer(self) -> bool:
        """Tell whether what is written now would be taken as the answer to what is refused."""
        if self.cycle is None or self.cycle.response_complete:
            return True
        is_the_one = self._phase is _Phase.BODY and not self.pipeline
        return is_the_one and not self.cycle.response_started

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


def possible_connections(wanted: int) -> int:
    """Return how many connections may be open, and have the process allowed as many files."""
    needed = wanted + _RESERVE + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    possible = max(min(wanted, soft - _RESERVE - _OTHER_FILES), 1)
    if possible < wanted:
        _log.warning("fewer connections than configured", configured=wanted, possible=possible)
    return possible


def _problem(status: HTTPStatus, detail: str) -> bytes:
    document = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    body = json.dumps(document).encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/problem+json",
        "cache-control: no-store",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append(f"retry-after: {_RETRY_AFTER}")
    return "\r\n".join([*lines, "", ""]).encode() + body
