"""A gateway that takes the access tokens of a provider, from its settings to the event."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.gateway.bench import configure, open_bench, prepare
from tests.support.gateway import REQUEST
from tests.support.issuer import AUDIENCE, new_issuer
from tests.support.servers import DatabaseUrls, Kafka


async def test_a_token_submits_for_its_tenant_and_no_further_than_its_scopes(
    kafka: Kafka,
    database: DatabaseUrls,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = new_issuer()
    configure(monkeypatch, kafka.bootstrap_servers, database, topic_prefix, tmp_path)
    monkeypatch.setenv("GATEWAY_AUTH", "api-key,oidc")
    monkeypatch.setenv("GATEWAY_OIDC_ISSUER", issuer.url)
    monkeypatch.setenv("GATEWAY_OIDC_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("GATEWAY_OIDC_TENANT_CLAIM", "org")
    monkeypatch.setenv("GATEWAY_OIDC_TIMEOUT", "60")
    await prepare(database)
    async with (
        issuer.served(),
        open_bench(kafka.bootstrap_servers, database, topic_prefix, tmp_path) as bench,
    ):

        async def ask(method: str, path: str, **claims: Any) -> httpx.Response:
            headers = {"authorization": f"Bearer {issuer.token(org='acme', **claims)}"}
            body = REQUEST if method == "POST" else None
            return await bench.client.request(method, path, json=body, headers=headers)

        accepted = await ask("POST", "/generate-report")
        assert accepted.status_code == 202
        [received] = await bench.published()
        assert received.event.tenant == "acme"
        path = accepted.headers["location"]
        assert (await ask("GET", path)).status_code == 200
        assert (await ask("DELETE", path)).status_code == 403
        assert (await ask("GET", path, scope="submit")).status_code == 403
        assert (await ask("GET", path, aud="another")).status_code == 401
        theirs = {"authorization": f"Bearer {issuer.token(org='rival', scope='admin')}"}
        assert (await bench.client.get(path, headers=theirs)).status_code == 404
