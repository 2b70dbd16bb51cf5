"""Signs webhooks by the Standard Webhooks scheme, so that a receiver knows who sent them.

The signature is HMAC-SHA256 over `id.timestamp.body`, the body being the exact bytes sent.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

_PREFIX: Final = "whsec_"
_FEWEST_BYTES: Final = 24
_MOST_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A shared secret of 24 to 64 bytes."""

    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `whsec_<base64>`.

        Raises:
            ValueError: saying what is wrong, never with any of the secret.

        """
        encoded = text.removeprefix(_PREFIX)
        if encoded == text:
            raise ValueError(f"a signing secret must begin with {_PREFIX}")
        secret = _decode(encoded)
        if not _FEWEST_BYTES <= len(secret) <= _MOST_BYTES:
            raise ValueError(f"a signing secret must hold {_FEWEST_BYTES} to {_MOST_BYTES} bytes")
        return cls(secret)

    def sign(self, message: bytes) -> str:
        """Return the signature of one message, with the version of the scheme before it."""
        mac = hmac.digest(self.secret, message, hashlib.sha256)
        return f"v1,{base64.b64encode(mac).decode()}"


def _decode(encoded: str) -> bytes:
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    # One spelling per secret: a decoder that is lax about padding or last bits can't disagree.
    if not secret or base64.b64encode(secret).decode() != encoded:
        raise ValueError("a signing secret must be standard, padded base64")
    return secret


def parse_signing_keys(text: str) -> tuple[SigningKey, ...]:
    """Read comma-separated secrets, all of which are live.

    Raises:
        ValueError: with the position of the bad entry, or where there is none at all.

    """
    keys: list[SigningKey] = []
    for position, entry in enumerate(text.split(","), start=1):
        try:
            keys.append(SigningKey.parse(entry.strip()))
        except ValueError as error:
            raise ValueError(f"entry {position}: {error}") from None
    return tuple(keys)


def signature_header(
    keys: Sequence[SigningKey], webhook_id: str, timestamp: int, body: bytes
) -> str:
    """Return the value of `webhook-signature`: one signature per live key.

    A receiver accepts the message if any of them fits, so keys can be changed without a gap.
    `timestamp` is in unix seconds and belongs to this attempt.
    """
    message = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return " ".join(key.sign(message) for key in keys)
