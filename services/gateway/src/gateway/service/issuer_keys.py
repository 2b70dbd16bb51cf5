"""The keys that an OpenID provider signs with, kept at hand and fetched again as they rotate."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final, Protocol

import structlog
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from gateway.domain import AccessUnavailableError, IssuerUnavailableError, NotAuthenticatedError
from shared.backoff import Backoff

_ASK_AGAIN_AFTER: Final = 10.0
"""Seconds between two fetches that unknown key ids may cause: anybody can make those up."""
_log = structlog.get_logger()


class KeySource(Protocol):
    """The provider."""

    async def jwks(self) -> Any:
        """Return its key set, or raise IssuerUnavailableError."""


class IssuerKeys:
    """The provider's public keys by id. While it is away, those that it had go on serving."""

    def __init__(
        self, source: KeySource, refresh: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._source = source
        self._refresh = refresh
        self._clock = clock
        self._keys: Mapping[str | None, Key] = {}
        self._is_current = False
        self._asked_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._backoff = Backoff(first=0.5, longest=60.0)

    async def find(self, key_id: str | None) -> Key:
        """Return a key; one that isn't known is asked for, but not too often.

        Raises:
            NotAuthenticatedError: where the provider has no such key.
            AccessUnavailableError: where the provider can't be asked.

        """
        if key_id not in self._keys:
            await self._ask_for_unknown()
        if key_id in self._keys:
            return self._keys[key_id]
        if not self._is_current:
            raise AccessUnavailableError("the OpenID provider's keys can't be fetched")
        raise NotAuthenticatedError("The token is signed with a key that its issuer doesn't have.")

    async def check(self) -> None:
        """Raise AccessUnavailableError unless there are keys, be they the newest or not."""
        if not self._keys:
            raise AccessUnavailableError("the OpenID provider's keys were never fetched")

    async def keep_fresh(self) -> None:
        """Fetch the keys again and again, for ever, so that withdrawn ones go too."""
        failures = 0
        while True:
            await self._fetch_once()
            failures = 0 if self._is_current else failures + 1
            await asyncio.sleep(self._backoff.delay(failures) if failures else self._refresh)

    async def _ask_for_unknown(self) -> None:
        if self._fetching is None and self._clock() - self._asked_at < _ASK_AGAIN_AFTER:
            return
        await self._fetch_once()

    async def _fetch_once(self) -> None:
        """Fetch the keys; whoever asks while that is under way waits for the same fetch."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        # Who stops waiting must not stop the others.
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        self._asked_at = self._clock()
        try:
            self._keys = _public_keys(await self._source.jwks())
            self._is_current = True
        except Exception as error:  # noqa: BLE001 - whatever a provider publishes, we go on
            self._is_current = False
            _log.warning("keys of the OpenID provider not fetched", reason=repr(error))
        finally:
            self._fetching = None


def _public_keys(document: Any) -> dict[str | None, Key]:
    """Return the signature keys of a JWKS (RFC 7517) by id; what isn't one is passed over.

    A sole key also serves tokens that name none.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise IssuerUnavailableError("it has no key set")
    keys: dict[str | None, Key] = {}
    for entry in entries:
        key = _signature_key(entry)
        if key is not None:
            keys[key.kid] = key
    if not keys:
        raise IssuerUnavailableError("its key set has no key that signs")
    if len(keys) == 1:
        keys[None] = next(iter(keys.values()))
    return keys


def _signature_key(entry: Any) -> Key | None:
    """Return a public key, never a shared secret: that would let its readers sign too."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    try:
        key = JWKRegistry.import_key(entry)
    except Exception:  # noqa: BLE001 - of a curve that it doesn't know, the library says KeyError
        return None
    is_public = isinstance(key, RSAKey | ECKey | OKPKey)
    return key if is_public and isinstance(key.kid, str | None) else None
