"""Sends one webhook to a server that nobody vouches for, within fixed limits."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohappyeyeballs import AddrInfoType
from yarl import URL

from notifier.domain import AttemptResult, ErrorClass
from notifier.resolver import GuardedResolver, RefusedAddressError, refuse_denied
from shared.callback import CallbackPolicy, CallbackUrlError, check_callback_url

_USER_AGENT: Final = "report-jobs-notifier/1"
_LONGEST_HEAD_LINE: Final = 8190
_MOST_HEAD_LINES: Final = 128


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Times in seconds; `total` runs from the look-up to the end of the response.

    Up to `body_bytes` of a response's body are read for up to `body`, only so that a polite server
    can finish: the status has decided by then.
    """

    dns: float = 3.0
    connect: float = 5.0
    total: float = 15.0
    body: float = 1.0
    body_bytes: int = 16 * 1024


class WebhookClient:
    """An HTTP client that follows, stores and trusts nothing it is sent."""

    def __init__(
        self,
        policy: CallbackPolicy,
        resolver: GuardedResolver,
        tls: ssl.SSLContext,
        limits: ClientLimits,
    ) -> None:
        self._policy = policy
        self._limits = limits
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=resolver,
                use_dns_cache=False,
                socket_factory=self._guarded_socket,
                force_close=True,  # a pooled connection may drop mid-request, outcome unknown
                ssl=tls,
                limit=0,  # the sender's slots are the limit
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": _USER_AGENT},
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=limits.dns + limits.connect, sock_connect=limits.connect
            ),
            read_bufsize=limits.body_bytes,
            max_line_size=_LONGEST_HEAD_LINE,
            max_field_size=_LONGEST_HEAD_LINE,
            max_headers=_MOST_HEAD_LINES,
        )

    async def close(self) -> None:
        """Close what is open, the resolver included."""
        await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        """POST `body` to `url` once; every failure is a result, none is raised."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = started + self._limits.total
        try:
            target = URL(check_callback_url(url, self._policy).text, encoded=True)
            async with asyncio.timeout_at(deadline):
                response = await self._session.post(
                    target, data=body, headers=headers, allow_redirects=False
                )
        except (CallbackUrlError, RefusedAddressError, aiohttp.ClientError, OSError) as error:
            error_class, detail = _explain(error)
            latency = timedelta(seconds=loop.time() - started)
            return AttemptResult(error_class, latency, detail=detail)
        latency = timedelta(seconds=loop.time() - started)
        async with response:
            await self._drain(response, deadline)
        return _read_head(response, latency)

    async def _drain(self, response: aiohttp.ClientResponse, deadline: float) -> None:
        """Read what a short body holds; what happens to it changes nothing."""
        until = min(deadline, asyncio.get_running_loop().time() + self._limits.body)
        unread = self._limits.body_bytes
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with asyncio.timeout_at(until):
                while unread > 0 and (chunk := await response.content.read(unread)):
                    unread -= len(chunk)
        response.close()

    def _guarded_socket(self, info: AddrInfoType) -> socket.socket:
        """Make the socket for one address; literals in a URL pass no resolver, but pass here."""
        family, kind, protocol, _, address = info
        refuse_denied(self._policy, str(address[0]))
        return socket.socket(family, kind, protocol)


def _read_head(response: aiohttp.ClientResponse, latency: timedelta) -> AttemptResult:
    status = response.status
    if HTTPStatus(200) <= status < HTTPStatus(300):
        return AttemptResult(None, latency, status)
    retry_after = response.headers.get("Retry-After")
    return AttemptResult(ErrorClass.STATUS, latency, status, retry_after, f"status {status}")


def _explain(error: Exception) -> tuple[ErrorClass, str]:
    """Return the class of a failure and a text without the URL, whose query may be secret."""
    for kinds, error_class, describe in _FAILURES:
        if isinstance(error, kinds):
            return error_class, describe(error)
    return ErrorClass.PROTOCOL, "the response isn't valid HTTP within the limits"


def _fixed(text: str) -> Callable[[Any], str]:
    return lambda _: text


def _system_text(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "no connection"


def _look_up_text(error: OSError) -> str:
    return error.strerror or "look-up failed"


# In this order, because aiohttp's classes are refinements of each other and of OSError.
_FAILURES: Final[tuple[tuple[Any, ErrorClass, Callable[[Any], str]], ...]] = (
    (CallbackUrlError, ErrorClass.REFUSED_ADDRESS, "the callback URL {}".format),
    (RefusedAddressError, ErrorClass.REFUSED_ADDRESS, str),
    (aiohttp.ClientConnectorDNSError, ErrorClass.DNS, _look_up_text),
    (
        aiohttp.ClientConnectorCertificateError,
        ErrorClass.TLS,
        _fixed("the certificate does not fit the host or isn't trusted"),
    ),
    (
        (aiohttp.ClientSSLError, ssl.SSLError),
        ErrorClass.TLS,
        _fixed("the TLS handshake failed"),
    ),
    (aiohttp.ConnectionTimeoutError, ErrorClass.TIMEOUT, _fixed("no connection in time")),
    (TimeoutError, ErrorClass.TIMEOUT, _fixed("no response head in time")),
    (aiohttp.ClientConnectorError, ErrorClass.CONNECT, _system_text),
    (
        (aiohttp.ServerDisconnectedError, OSError),
        ErrorClass.RESET,
        _fixed("the connection was lost before a response"),
    ),
)
