"""Knows the live API keys by heart, so that a request costs no query.

All live keys are read at once: some thousands are a few hundred kilobytes, and a made-up key costs
the database nothing. A change is told by NOTIFY and read within milliseconds; where a notice was
lost, within `refresh` seconds.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from gateway.domain import (
    AccessUnavailableError,
    ApiKey,
    Caller,
    NotAuthenticatedError,
    read_key,
)
from shared.backoff import Backoff
from shared.clock import Clock
from shared.database.pool import PASSING_ERRORS

_TRUSTED_FOR: Final = timedelta(hours=1)
"""How long known keys are good while the database is away. A revocation waits as long at worst."""
_MISSED_REFRESHES: Final = 3
_log = structlog.get_logger()


class LiveKeys(Protocol):
    """Where the keys are kept."""

    async def live(self) -> list[ApiKey]:
        """Return the keys that are neither revoked nor expired."""


class ApiKeys:
    """The live keys, read again every `refresh` seconds and whenever `wake` is called."""

    def __init__(self, source: LiveKeys, clock: Clock, refresh: float) -> None:
        self._source = source
        self._clock = clock
        self._refresh = refresh
        self._backoff = Backoff(first=0.2, longest=refresh)
        self._keys: Mapping[str, ApiKey] = {}
        self._read_at: datetime | None = None
        self._changed = asyncio.Event()

    def authenticate(self, text: str) -> Caller:
        """Return whom a key speaks for.

        Raises:
            NotAuthenticatedError: where the key is none, or no longer one.
            AccessUnavailableError: where that can't be told: the database is away.

        """
        now = self._clock()
        presented = read_key(text)
        key = self._keys.get(presented.key_id) if presented else None
        if presented and key and key.opens_for(presented, now):
            self._require_read_within(_TRUSTED_FOR, now)
            return key.caller
        # A key that was made while the database is away from here looks like one made up.
        self._require_read_within(timedelta(seconds=self._refresh * _MISSED_REFRESHES), now)
        raise NotAuthenticatedError("The API key is unknown, revoked or expired.")

    async def check(self) -> None:
        """Raise AccessUnavailableError unless the keys were read lately enough to be trusted."""
        self._require_read_within(_TRUSTED_FOR, self._clock())

    def wake(self, _payload: str = "") -> None:
        """Have the keys read again at once."""
        self._changed.set()

    async def keep_fresh(self) -> None:
        """Read the keys again and again, for ever."""
        failures = 0
        while True:
            self._changed.clear()
            try:
                await self._read()
            except PASSING_ERRORS as error:
                failures += 1
                _log.warning("API keys not read", error=type(error).__name__)
                await asyncio.sleep(self._backoff.delay(failures))
                continue
            failures = 0
            await self._wait_for_a_change()

    async def _read(self) -> None:
        began = self._clock()
        self._keys = {key.key_id: key for key in await self._source.live()}
        self._read_at = began

    async def _wait_for_a_change(self) -> None:
        try:
            async with asyncio.timeout(self._refresh):
                await self._changed.wait()
        except TimeoutError:
            return

    def _require_read_within(self, age: timedelta, now: datetime) -> None:
        if self._read_at is None or now - self._read_at > age:
            raise AccessUnavailableError("the API keys can't be read")
