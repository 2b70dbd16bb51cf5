"""Numbered secret keys: the first signs, all of them verify, so a key can be rotated."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final, Self

MINIMUM_KEY_BYTES: Final = 32
_MAXIMUM_KEY_NUMBER: Final = 255  # job ids carry the number in one byte


@dataclass(frozen=True, slots=True)
class KeyRing:
    """HMAC-SHA256 keys by number; `signing_number` names the one that signs."""

    signing_number: int
    keys: dict[int, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1:<base64>,0:<base64>`; the first key signs, each holds 32 bytes or more.

        Raises:
            ValueError: with the position of the bad entry, never with key material.

        """
        keys: dict[int, bytes] = {}
        for position, entry in enumerate(text.split(","), start=1):
            number, key = _parse_entry(entry.strip(), position)
            if number in keys:
                raise ValueError(f"key entry {position}: the number {number} is used twice")
            keys[number] = key
        return cls(signing_number=next(iter(keys)), keys=keys)

    def sign(self, message: bytes) -> bytes:
        """Return the 32-byte MAC of `message` under the signing key."""
        return self._mac(self.signing_number, message)

    def verify(self, number: int, message: bytes, mac: bytes) -> bool:
        """Tell in constant time whether `mac`, or a prefix of 8 bytes or more, fits."""
        if number not in self.keys or not 8 <= len(mac) <= 32:  # noqa: PLR2004 - see above
            return False
        return hmac.compare_digest(self._mac(number, message)[: len(mac)], mac)

    def _mac(self, number: int, message: bytes) -> bytes:
        return hmac.digest(self.keys[number], message, hashlib.sha256)


def _parse_entry(entry: str, position: int) -> tuple[int, bytes]:
    number_text, colon, encoded = entry.partition(":")
    is_number = number_text.isascii() and number_text.isdigit()
    if not colon or not is_number or int(number_text) > _MAXIMUM_KEY_NUMBER:
        raise ValueError(f"key entry {position} is not '<number 0-255>:<base64>'")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError(f"key entry {position} is not valid base64") from None
    if len(key) < MINIMUM_KEY_BYTES:
        raise ValueError(f"key entry {position} is shorter than {MINIMUM_KEY_BYTES} bytes")
    return int(number_text), key
