"""Builds who is let in, as `GATEWAY_AUTH` says, and how often, with the loops that it needs."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.domain import RatePolicy
from gateway.service import (
    Access,
    AccessTokens,
    ApiKeys,
    CredentialAccess,
    IssuerKeys,
    OpenAccess,
    RateLimit,
    RateLimits,
    TokenRules,
)
from gateway.settings import Authentication, Settings
from gateway.store import API_KEYS_CHANNEL, ApiKeyStore, OpenIdProvider
from shared.clock import utc_now
from shared.database.listen import Channels, Wake
from shared.database.pool import Database
from shared.telemetry.probes import Check

_Loops = dict[str, Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class BuiltAccess:
    """The way in, and what it needs by name: loops, channels to listen to, checks of readiness."""

    access: Access
    loops: _Loops
    channels: Channels
    checks: dict[str, Check]


def build_access(settings: Settings, database: Database, timeout: float) -> BuiltAccess:
    """Build it; `timeout` in seconds for each statement."""
    if Authentication.NONE in settings.auth:
        return BuiltAccess(OpenAccess(), {}, {}, {})
    loops: _Loops = {}
    channels: dict[str, Wake] = {}
    checks: dict[str, Check] = {}
    api_keys = access_tokens = None
    if Authentication.API_KEY in settings.auth:
        api_keys = ApiKeys(ApiKeyStore(database, timeout), utc_now, settings.api_keys_refresh)
        checks["api_keys"] = api_keys.check
        loops["api keys"] = api_keys.keep_fresh()
        channels[API_KEYS_CHANNEL] = api_keys.wake
    if Authentication.OIDC in settings.auth:
        provider = OpenIdProvider(settings.oidc_issuer, settings.oidc_timeout)
        issuer_keys = IssuerKeys(provider, settings.oidc_refresh)
        checks["issuer_keys"] = issuer_keys.check
        loops["issuer keys"] = issuer_keys.keep_fresh()
        access_tokens = AccessTokens(issuer_keys, _rules(settings), utc_now)
    return BuiltAccess(CredentialAccess(api_keys, access_tokens), loops, channels, checks)


def rate_limits(settings: Settings) -> RateLimits:
    """Return the limits of each tenant; a rate of 0 is no limit."""
    return RateLimits(
        submit=_rate_limit("submit", settings.submit_rate, settings.submit_burst),
        read=_rate_limit("read", settings.read_rate, settings.read_burst),
    )


def _rate_limit(name: str, per_second: float, burst: int) -> RateLimit | None:
    return RateLimit(RatePolicy(name, per_second, burst)) if per_second else None


def _rules(settings: Settings) -> TokenRules:
    return TokenRules(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        tenant_claim=settings.oidc_tenant_claim,
        leeway=settings.oidc_leeway,
    )
