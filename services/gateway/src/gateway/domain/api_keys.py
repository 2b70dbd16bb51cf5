"""API keys: how they are spelled, and what is kept of them.

    rjk_<16 digits: the key's id>_<52 digits: the secret>

The prefix lets scanners of source code find a key that leaked. The id is public and names the row.
The secret has 256 random bits, so a plain SHA-256 of the key is as good as a slow hash: there is
nothing to guess, and a copy of the table opens nothing.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateway.domain.access import Caller

KEY_PREFIX: Final = "rjk_"
_SPELLING: Final = re.compile(r"rjk_([0-9a-v]{16})_[0-9a-v]{52}", re.ASCII)
_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A well-formed key: the id that it claims, and the hash of all of it."""

    key_id: str
    sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. `expires_at` None: never."""

    key_id: str
    sha256: bytes = field(repr=False)
    caller: Caller
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def opens_for(self, presented: PresentedKey, now: datetime) -> bool:
        """Tell whether the presented key is this one and still good."""
        is_this = hmac.compare_digest(self.sha256, presented.sha256)
        return is_this and self.state(now) == "active"

    def state(self, now: datetime) -> str:
        """Return `active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def new_key_text(random_bytes: Callable[[int], bytes]) -> str:
    """Return a new key, which is to be shown once and then forgotten."""
    return f"{KEY_PREFIX}{_digits(random_bytes(_ID_BYTES))}_{_digits(random_bytes(_SECRET_BYTES))}"


def read_key(text: str) -> PresentedKey | None:
    """Return what a text claims as a key, or None where it isn't spelled as one."""
    found = _SPELLING.fullmatch(text)
    return PresentedKey(found[1], hashlib.sha256(text.encode()).digest()) if found else None


def _digits(raw: bytes) -> str:
    return base64.b32hexencode(raw).decode().rstrip("=").lower()
