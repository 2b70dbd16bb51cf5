"""Access tokens of a provider that is really asked: what is believed, and what never is."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from gateway.domain import AccessUnavailableError, Caller, NotAuthenticatedError, Scope
from gateway.service import AccessTokens, CredentialAccess, IssuerKeys, TokenRules
from gateway.store import OpenIdProvider
from shared.clock import utc_now
from tests.support.issuer import AUDIENCE, Issuer, new_issuer


class HandClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Door:
    """What a gateway asks of a token."""

    issuer: Issuer
    keys: IssuerKeys
    access: CredentialAccess
    clock: HandClock

    async def ask(self, token: str) -> Caller:
        return await self.access.authenticate(f"Bearer {token}")


def door_of(issuer: Issuer) -> Door:
    clock = HandClock()
    keys = IssuerKeys(OpenIdProvider(issuer.url, timeout=20.0), refresh=300, clock=clock)
    rules = TokenRules(issuer.url, AUDIENCE, "tenant", leeway=30)
    return Door(issuer, keys, CredentialAccess(None, AccessTokens(keys, rules, utc_now)), clock)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    issuer = new_issuer()
    async with issuer.served():
        yield door_of(issuer)


async def test_a_token_speaks_for_its_tenant_with_its_scopes(door: Door) -> None:
    caller = await door.ask(door.issuer.token())
    assert caller == Caller("acme", frozenset({Scope.SUBMIT, Scope.READ}))


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": None}, set()),
        ({"scope": None, "scp": ["admin", 7, "else"]}, {Scope.ADMIN}),
        ({"scope": "read", "scp": "submit"}, {Scope.READ, Scope.SUBMIT}),
        ({"scope": {"read": True}}, set()),
        ({"scope": "reader READ"}, set()),
    ],
)
async def test_scopes_are_read_in_both_spellings_and_never_guessed(
    door: Door, claims: dict[str, Any], scopes: set[Scope]
) -> None:
    assert (await door.ask(door.issuer.token(**claims))).scopes == scopes


async def test_keys_of_elliptic_curves_do_too(door: Door) -> None:
    door.issuer.rotate(algorithm="ES256")
    assert (await door.ask(door.issuer.token())).tenant == "acme"


@dataclass(frozen=True)
class FromNow:
    """A moment so many seconds from the one in which the token is made."""

    seconds: int


REFUSED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example.com"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "someone-else"},
    "no audience": {"aud": None},
    "expired beyond the leeway": {"exp": FromNow(-60)},
    "no expiry": {"exp": None},
    "expiry that is no number": {"exp": "tomorrow"},
    "expiry that is never": {"exp": float("nan")},
    "not yet valid": {"nbf": FromNow(3600)},
    "no tenant": {"tenant": None},
    "tenant that is no text": {"tenant": 7},
    "tenant with a line break": {"tenant": "a\r\nb"},
    "empty tenant": {"tenant": ""},
}


@pytest.mark.parametrize("claims", REFUSED.values(), ids=REFUSED.keys())
async def test_a_token_that_says_the_wrong_thing_is_refused(
    door: Door, claims: dict[str, Any]
) -> None:
    now = int(time.time())  # noqa: TID251 - what the provider's clock says
    said: dict[str, Any] = {
        name: now + value.seconds if isinstance(value, FromNow) else value
        for name, value in claims.items()
    }
    with pytest.raises(NotAuthenticatedError):
        await door.ask(door.issuer.token(**said))


async def test_clocks_may_differ_a_little(door: Door) -> None:
    now = int(time.time())  # noqa: TID251 - what the provider's clock says
    token = door.issuer.token(exp=now - 5, nbf=now + 5, iat=now + 5)
    assert (await door.ask(token)).tenant == "acme"


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def unsigned(issuer: Issuer, algorithm: str) -> str:
    """Return a header and claims that would do, without a signature."""
    header = {"alg": algorithm, "kid": issuer.keys[-1].kid}
    claims = {"iss": issuer.url, "aud": AUDIENCE, "exp": 2**40, "tenant": "acme"}
    return f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS256", "RS256"])
async def test_a_token_that_nobody_signed_is_refused(door: Door, algorithm: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        await door.ask(unsigned(door.issuer, algorithm) + ".")


@pytest.mark.parametrize("spelling", ["PEM", "DER"])
async def test_a_public_key_used_as_a_shared_secret_opens_nothing(
    door: Door, spelling: str
) -> None:
    public = door.issuer.keys[-1]
    assert isinstance(public, RSAKey)
    secret = public.as_pem(private=False) if spelling == "PEM" else public.as_der(private=False)
    signed = unsigned(door.issuer, "HS256")
    token = f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}"
    with pytest.raises(NotAuthenticatedError):
        await door.ask(token)


async def test_a_shared_secret_in_the_key_set_is_never_used(door: Door) -> None:
    secret = OctKey.generate_key(256, {"kid": "shared"})
    door.issuer.keys.append(secret)
    with pytest.raises(NotAuthenticatedError):
        await door.ask(door.issuer.token(key=secret, header={"alg": "HS256"}))


async def test_a_key_of_somebody_else_under_a_known_id_is_refused(door: Door) -> None:
    kid = door.issuer.keys[-1].kid or ""
    stranger = RSAKey.generate_key(2048, {"kid": kid})
    with pytest.raises(NotAuthenticatedError):
        await door.ask(door.issuer.token(key=stranger))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "..",
        "é.é.é",
        "." * 9000,
        "e30.e30.e30",
        "WyJh" * 2000 + ".e30.e30",
        *(part(header) + ".e30.e30" for header in (b'"alg"', b'["alg"]', b'{"alg":{"kid":[]}}')),
        base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.e30",
    ],
)
async def test_what_is_no_token_is_refused(door: Door, token: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        await door.ask(token)


async def test_other_schemes_than_bearer_are_refused(door: Door) -> None:
    for header in ("Basic YTpi", door.issuer.token(), "Bearer", "", "Digest x"):
        with pytest.raises(NotAuthenticatedError):
            await door.access.authenticate(header)


async def test_a_rotated_key_is_found_at_once_and_the_old_one_is_gone(door: Door) -> None:
    old = door.issuer.token()
    await door.ask(old)
    door.issuer.rotate()
    door.clock.now += 60
    assert (await door.ask(door.issuer.token())).tenant == "acme"
    with pytest.raises(NotAuthenticatedError):
        await door.ask(old)


async def test_made_up_key_ids_dont_have_the_provider_asked_again_and_again(door: Door) -> None:
    await door.ask(door.issuer.token())
    before = door.issuer.fetches
    for number in range(50):
        with pytest.raises(NotAuthenticatedError):
            await door.ask(door.issuer.token(header={"kid": f"made-up-{number}"}))
    assert door.issuer.fetches == before
    door.clock.now += 60
    with pytest.raises(NotAuthenticatedError):
        await door.ask(door.issuer.token(header={"kid": "made-up"}))
    assert door.issuer.fetches == before + 1


async def test_requests_at_the_same_time_share_one_fetch(door: Door) -> None:
    callers = await asyncio.gather(*(door.ask(door.issuer.token()) for _ in range(20)))
    assert len(callers) == 20
    assert door.issuer.fetches == 1


async def test_while_the_provider_is_away_its_old_keys_serve() -> None:
    issuer = new_issuer()
    door = door_of(issuer)
    async with issuer.served():
        await door.ask(issuer.token())
    assert (await door.ask(issuer.token())).tenant == "acme"
    issuer.rotate()
    door.clock.now += 60
    with pytest.raises(AccessUnavailableError):
        await door.ask(issuer.token())
    async with issuer.served():
        door.clock.now += 60
        assert (await door.ask(issuer.token())).tenant == "acme"


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_provider_that_answers_nonsense_is_taken_as_away(door: Door, status: int) -> None:
    door.issuer.status = status
    with pytest.raises(AccessUnavailableError):
        await door.ask(door.issuer.token())


async def test_a_configuration_of_another_issuer_is_not_believed(door: Door) -> None:
    door.issuer.named_issuer = "https://evil.example.com"
    with pytest.raises(AccessUnavailableError):
        await door.ask(door.issuer.token())


X25519 = OKPKey.generate_key("X25519").as_dict(private=False)
EC = ECKey.generate_key("P-256").as_dict(private=False)
FOREIGN_KEYS: dict[str, Any] = {
    "an elliptic curve that is not known": {**EC, "crv": "brainpoolP256r1"},
    "an Edwards curve that is not known": {**X25519, "crv": "Ed25519ph"},
    "an id that is no text": {**EC, "kid": ["a"]},
    "an id that is an object": {**EC, "kid": {}},
    "numbers that are none": {"kty": "RSA", "n": 7, "e": None},
    "an encryption key": {**X25519, "kid": "encryption"},
    "no object": ["kty"],
}


@pytest.mark.parametrize("entry", FOREIGN_KEYS.values(), ids=FOREIGN_KEYS.keys())
async def test_a_key_that_makes_no_sense_here_takes_none_of_the_others_away(
    door: Door, entry: Any
) -> None:
    door.issuer.other_entries = [entry]
    assert (await door.ask(door.issuer.token())).tenant == "acme"


@pytest.mark.parametrize("document", [b"[" * 100_000, b"\xff", b"{}", b'{"keys": 7}', b"7"])
async def test_a_key_set_that_makes_no_sense_is_no_answer_and_is_asked_for_again(
    door: Door, document: bytes
) -> None:
    door.issuer.document = document
    fetching = asyncio.create_task(door.keys.keep_fresh())
    with pytest.raises(AccessUnavailableError):
        await door.ask(door.issuer.token())
    assert not fetching.done()
    door.issuer.document = None
    door.clock.now += 60
    assert (await door.ask(door.issuer.token())).tenant == "acme"
    fetching.cancel()
