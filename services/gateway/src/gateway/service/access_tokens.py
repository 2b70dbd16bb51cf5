"""Checks access tokens: JWTs (RFC 9068) that one OpenID provider signed for this API."""

import json
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from gateway.domain import Caller, NotAuthenticatedError, is_tenant, known_scopes
from gateway.service.issuer_keys import IssuerKeys
from shared.clock import Clock

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
)
"""What may have signed: public keys alone. `none`, and HMAC with a key that is public, are not."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token has to say. `leeway` in seconds, for clocks that differ."""

    issuer: str
    audience: str
    tenant_claim: str
    leeway: int


class AccessTokens:
    """Tells callers by their tokens."""

    def __init__(self, keys: IssuerKeys, rules: TokenRules, clock: Clock) -> None:
        self._keys = keys
        self._rules = rules
        self._claims = JWTClaimsRegistry(
            now=lambda: int(clock().timestamp()),
            leeway=rules.leeway,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            exp={"essential": True},
        )

    async def authenticate(self, token: str) -> Caller:
        """Return whom a token speaks for.

        Raises:
            NotAuthenticatedError: where it proves nothing here.
            AccessUnavailableError: where its key can't be fetched.

        """
        claims = await self._verified(token)
        try:
            self._claims.validate(claims)
        except JoseError as error:
            raise NotAuthenticatedError(f"The token is not valid here: {error.error}.") from None
        tenant = claims.get(self._rules.tenant_claim)
        if not isinstance(tenant, str) or not is_tenant(tenant):
            raise NotAuthenticatedError(f"The token's {self._rules.tenant_claim} names no tenant.")
        return Caller(tenant, known_scopes(_granted(claims)))

    async def _verified(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that the provider signed."""
        try:
            signed = jws.extract_compact(token.encode())
            key = await self._keys.find(_key_id(signed.headers()))
            is_signed = jws.validate_compact(signed, key, ALGORITHMS)
            claims = json.loads(signed.payload or b"")
        except (JoseError, ValueError, TypeError, RecursionError):
            raise _UNREADABLE from None
        if not is_signed or not isinstance(claims, dict):
            raise _UNREADABLE
        return claims


_UNREADABLE: Final = NotAuthenticatedError("The token is not one that its issuer signed.")


def _key_id(header: Any) -> str | None:
    """Return the id of the key that signed; `header` is any JSON, whatever the library says."""
    if not isinstance(header, dict):
        raise _UNREADABLE
    key_id = header.get("kid")
    return key_id if isinstance(key_id, str) else None


def _granted(claims: dict[str, Any]) -> list[str]:
    """Return the scopes of `scope` (RFC 8693: words) and `scp` (a list, or words)."""
    granted: list[str] = []
    for name in ("scope", "scp"):
        value = claims.get(name)
        words = value.split() if isinstance(value, str) else value
        granted += (
            [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
        )
    return granted
