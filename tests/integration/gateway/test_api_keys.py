"""Keys made by `gateway keys` open the served API, for their tenant alone, until they are ended."""

import asyncio
import hashlib
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from local_stack.polling import poll_until
from tests.integration.gateway.bench import Bench, OpenBench
from tests.support.gateway import REQUEST

_SECONDS = 120.0
_LISTENERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'gateway-listen'
"""


@pytest.fixture
async def locked(bench_with: OpenBench) -> AsyncIterator[Bench]:
    """A gateway that takes API keys alone, and reads them again only when it is told to."""
    async with bench_with(AUTH="api-key", API_KEYS_REFRESH="600") as bench:
        yield bench


async def keys(*arguments: str) -> tuple[int, str, str]:
    """Run `gateway keys` and return its exit status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gateway", "keys", *arguments), stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def eventually(bench: Bench, key: str, status: int, path: str = "/report-jobs") -> None:
    async def is_answered() -> bool:
        response = await bench.client.get(path, headers={"authorization": f"Bearer {key}"})
        return response.status_code == status

    await poll_until(is_answered, seconds=_SECONDS)


async def listening_connections(bench: Bench) -> int:
    connection = await asyncpg.connect(bench.database.admin)
    try:
        count: int = await connection.fetchval(_LISTENERS)
    finally:
        await connection.close()
    return count


async def test_a_key_opens_from_its_making_to_its_revocation(locked: Bench) -> None:
    status, out, _ = await keys("create", "--tenant", "acme", "--name", "nightly export")
    key = out.strip()
    assert status == 0
    await eventually(locked, key, 200)
    assert await listening_connections(locked) == 1  # the one for changes of jobs too

    headers = {"authorization": f"Bearer {key}"}
    response = await locked.client.post("/generate-report", json=REQUEST, headers=headers)
    assert response.status_code == 202
    assert locked.job_ids.is_certified(response.json()["jobId"], "acme")
    [received] = await locked.published()
    assert received.event.tenant == "acme"

    status, listing, _ = await keys("list")
    key_id = key.split("_")[1]
    assert key_id in listing
    assert "nightly export" in listing
    assert "read,submit  active" in listing
    assert key.split("_")[2] not in listing

    assert (await keys("revoke", key_id))[0] == 0
    await eventually(locked, key, 401)
    assert "revoked" in (await keys("list", "--tenant", "acme"))[1]


async def test_the_table_holds_what_opens_nothing(locked: Bench) -> None:
    _, out, _ = await keys("create", "--tenant", "acme", "--name", "nightly export")
    key = out.strip()
    admin = await asyncpg.connect(locked.database.admin)
    try:
        row = await admin.fetchrow("SELECT k::text AS written, * FROM gateway.api_keys AS k")
    finally:
        await admin.close()
    assert row is not None
    assert row["sha256"] == hashlib.sha256(key.encode()).digest()
    _, key_id, secret = key.split("_")
    assert key_id in row["written"]
    assert secret not in row["written"]
    assert secret.encode().hex() not in row["written"]


async def test_two_tenants_dont_see_each_other(locked: Bench) -> None:
    acme, rival = [
        (await keys("create", "--tenant", tenant, "--name", "x"))[1].strip()
        for tenant in ("acme", "rival")
    ]
    await eventually(locked, rival, 200)
    accepted = await locked.client.post(
        "/generate-report", json=REQUEST, headers={"authorization": f"Bearer {acme}"}
    )
    path = f"/report-jobs/{accepted.json()['jobId']}"
    await locked.add_job(accepted.json()["jobId"], tenant="acme")
    await eventually(locked, acme, 200, path)
    await eventually(locked, rival, 404, path)


async def test_a_keys_scopes_are_its_limits(locked: Bench) -> None:
    key = (await keys("create", "--tenant", "acme", "--name", "x", "--scope", "read"))[1].strip()
    await eventually(locked, key, 200)
    headers = {"authorization": f"Bearer {key}"}
    response = await locked.client.post("/generate-report", json=REQUEST, headers=headers)
    assert response.status_code == 403
    assert await locked.published() == []


async def test_without_a_key_there_is_nothing_but_the_probes_and_the_document(
    locked: Bench,
) -> None:
    client: httpx.AsyncClient = locked.client
    assert (await client.get("/report-jobs")).status_code == 401
    assert (await client.post("/generate-report", json=REQUEST)).status_code == 401
    for path in ("/livez", "/readyz", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    assert await locked.published() == []


async def test_a_key_that_isnt_there_cant_be_revoked(locked: Bench) -> None:
    status, _, err = await keys("revoke", "0" * 16)
    assert (status, err) == (1, "gateway: keys: there is no key 0000000000000000\n")
