"""Signed download links: `{PUBLIC_URL}/report-jobs/{jobId}/download?exp=..&sig=..`.

The link is the same wherever it is shown (GET, list, webhook), because it is derived from the
job id and its expiry alone.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.clock import Clock
from shared.keyring import KeyRing

_DOMAIN: Final = b"report-jobs/download/v1\0"
_LONGEST_UNIX_SECONDS: Final = 11


class LinkVerdict(StrEnum):
    """What a presented link is worth."""

    VALID = "valid"
    FORGED = "forged"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class DownloadLinks:
    """Signs and checks download links. `public_url` has no trailing slash."""

    public_url: str
    keys: KeyRing
    clock: Clock

    def url(self, job_id: str, expires_at: datetime) -> str:
        """Return the link of `job_id`, valid until `expires_at` (whole seconds)."""
        exp = str(int(expires_at.timestamp()))
        number = self.keys.signing_number
        mac = self.keys.sign(_message(job_id, exp, number))
        sig = base64.urlsafe_b64encode(bytes([number]) + mac).decode()
        return f"{self.public_url}/report-jobs/{job_id}/download?exp={exp}&sig={sig}"

    def check(self, job_id: str, exp: str, sig: str) -> LinkVerdict:
        """Judge the `exp` and `sig` of a request; a forged link is never called expired."""
        raw = _decode_signature(sig)
        if raw is None or not raw or not self._is_signed(job_id, exp, raw):
            return LinkVerdict.FORGED
        if int(exp) <= self.clock().timestamp():
            return LinkVerdict.EXPIRED
        return LinkVerdict.VALID

    def _is_signed(self, job_id: str, exp: str, raw: bytes) -> bool:
        is_number = exp.isascii() and exp.isdigit() and len(exp) <= _LONGEST_UNIX_SECONDS
        number, mac = raw[0], raw[1:]
        return (
            is_number
            and len(mac) == 32  # noqa: PLR2004 - the whole MAC, not a prefix of it
            and self.keys.verify(number, _message(job_id, exp, number), mac)
        )


def _message(job_id: str, exp: str, number: int) -> bytes:
    return _DOMAIN + bytes([number]) + f"{job_id}\0{exp}".encode()


def _decode_signature(sig: str) -> bytes | None:
    try:
        raw = base64.b64decode(sig, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # One spelling per signature: a changed trailing bit must not go unnoticed.
    return raw if base64.urlsafe_b64encode(raw).decode() == sig else None
