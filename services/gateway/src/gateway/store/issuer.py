"""Fetches what an OpenID provider publishes: where its keys are, and the keys."""

import asyncio
import json
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
from yarl import URL

from gateway.domain import IssuerUnavailableError

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_LARGEST_DOCUMENT: Final = 1024 * 1024


class OpenIdProvider:
    """The provider behind an issuer URL. Each fetch ends within `timeout` seconds."""

    def __init__(self, issuer: str, timeout: float) -> None:
        self._issuer = issuer
        self._timeout = timeout

    async def jwks(self) -> Any:
        """Return the provider's key set as it published it.

        Both documents are fetched each time: a provider may move its keys.

        Raises:
            IssuerUnavailableError: where it doesn't answer, or with what makes no sense.

        """
        try:
            async with asyncio.timeout(self._timeout), aiohttp.ClientSession() as session:
                configuration = await _fetch(session, self._issuer.rstrip("/") + _WELL_KNOWN)
                return await _fetch(session, self._jwks_url(configuration))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise IssuerUnavailableError(type(error).__name__) from error

    def _jwks_url(self, configuration: Any) -> str:
        if not isinstance(configuration, dict) or configuration.get("issuer") != self._issuer:
            raise IssuerUnavailableError("its configuration names another issuer")
        url = configuration.get("jwks_uri")
        if not isinstance(url, str) or not is_trustworthy(url):
            raise IssuerUnavailableError("its configuration names no jwks_uri over https")
        return url


def is_trustworthy(url: str) -> bool:
    """Tell whether what a URL answers is what its owner said: https, or this very host."""
    parsed = URL(url)
    return bool(parsed.host) and (
        parsed.scheme == "https" or (parsed.scheme == "http" and is_loopback(parsed.host or ""))
    )


async def _fetch(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:  # noqa: PLR2004 - OK
            raise IssuerUnavailableError(f"it answered {response.status}")
        body = b""
        async for chunk in response.content.iter_chunked(64 * 1024):
            body += chunk
            if len(body) > _LARGEST_DOCUMENT:
                raise IssuerUnavailableError("its document is too large")
    return json.loads(body)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this very one, without looking its name up."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
