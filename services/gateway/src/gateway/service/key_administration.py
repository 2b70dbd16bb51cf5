"""Makes, lists and revokes API keys, for whoever may write to the gateway's schema."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.domain import ApiKey, Caller, new_key_text, read_key


class KeyStore(Protocol):
    """Where the keys are kept."""

    async def add(
        self, key_id: str, sha256: bytes, caller: Caller, name: str, expires_at: datetime | None
    ) -> None:
        """Store a new key."""

    async def of_tenant(self, tenant: str | None) -> list[ApiKey]:
        """Return all keys that ever were, of one tenant or of all."""

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key; False where there is none of this id."""


@dataclass(frozen=True, slots=True)
class KeyAdministration:
    """`random_bytes(n)` is the source of randomness."""

    store: KeyStore
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    async def create(self, caller: Caller, name: str, expires_at: datetime | None) -> str:
        """Return a new key; only its hash is kept, so this is the one time that it is seen."""
        text = new_key_text(self.random_bytes)
        key = read_key(text)
        if key is None:
            raise AssertionError("a new key is not spelled as one")
        await self.store.add(key.key_id, key.sha256, caller, name, expires_at)
        return text

    async def all_of(self, tenant: str | None) -> list[ApiKey]:
        """Return all keys that ever were, of one tenant or of all."""
        return await self.store.of_tenant(tenant)

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key, once and for all; False where there is none of this id."""
        return await self.store.revoke(key_id)
