"""A small OpenID provider on loopback: publishes keys, rotates them, signs tokens, goes away."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from local_stack.ports import LOOPBACK, free_ports

AUDIENCE = "report-jobs"
SigningKey = RSAKey | ECKey


class Issuer:
    """A provider; `url` is its issuer; a `document` is published in the place of its key set."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self.port = port
        self.keys: list[SigningKey | OctKey] = []
        self.other_entries: list[Any] = [{"kty": "unheard of"}]
        self.document: bytes | None = None
        self.fetches = 0
        self.status = 200
        self.named_issuer = self.url
        self.rotate()

    def rotate(self, *, keep_old: bool = False, algorithm: str = "RS256") -> SigningKey:
        """Sign with a new key from now on."""
        number = sum(1 for _ in self.keys) + self.fetches + 1
        parameters: Any = {"kid": f"key-{number}-{time.monotonic_ns()}", "use": "sig"}
        key: SigningKey = (
            ECKey.generate_key("P-256", parameters)
            if algorithm.startswith("ES")
            else RSAKey.generate_key(2048, parameters)
        )
        self.keys = [*self.keys, key] if keep_old else [key]
        return key

    def token(
        self,
        *,
        key: SigningKey | OctKey | None = None,
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a token of the newest key; a claim that is None is left out."""
        key = key or self.keys[-1]
        now = int(time.time())  # noqa: TID251 - a provider of another house has its own clock
        said = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "client",
            "iat": now,
            "exp": now + 60,
            "tenant": "acme",
            "scope": "openid submit read",
            **claims,
        }
        algorithm = "ES256" if isinstance(key, ECKey) else "RS256"
        protected = {"alg": algorithm, "kid": key.kid, "typ": "at+jwt", **(header or {})}
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(protected, kept, key, algorithms=[protected["alg"]])

    async def _configuration(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        document = {"issuer": self.named_issuer, "jwks_uri": f"{self.url}/keys"}
        return web.json_response(document, status=self.status)

    async def _jwks(self, _request: web.Request) -> web.Response:
        if self.document is not None:
            return web.Response(body=self.document, content_type="application/json")
        keys = [key.as_dict(private=isinstance(key, OctKey)) for key in self.keys]
        return web.json_response({"keys": [*self.other_entries, *keys]})

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Answer while the body runs."""
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/keys", self._jwks)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, LOOPBACK, self.port).start()
            yield
        finally:
            await runner.cleanup()


def new_issuer() -> Issuer:
    """Return a provider that isn't served yet."""
    return Issuer(next(free_ports()))
