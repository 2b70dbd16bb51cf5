"""`GET` and `HEAD /report-jobs/{jobId}/download`."""

import base64
import hashlib
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from gateway.domain import Job, JobStatus, StoredArtifact
from shared.job_id import created_at
from tests.support.gateway import RETENTION, FakeGateway

CONTENT = b"day,orders\n2024-01-01,3\n"
PATH = "job/1/1-token/report.csv"


def stored(file_name: str = "orders-summary.csv") -> StoredArtifact:
    digest = hashlib.sha256(CONTENT).hexdigest()
    return StoredArtifact(PATH, file_name, "text/csv; charset=utf-8", len(CONTENT), digest)


def completed(gateway: FakeGateway, artifact: StoredArtifact | None = None) -> Job:
    job_id = gateway.job_ids.new("default")
    job = replace(
        Job.pending(job_id, created_at(job_id)),
        status=JobStatus.COMPLETED,
        artifact=artifact or stored(),
    )
    gateway.artifacts.files[PATH] = [CONTENT[:10], CONTENT[10:]]
    return gateway.read_model.add(job)


def link(gateway: FakeGateway, job_id: str) -> str:
    """The path and query of a job's link, as a client behind a proxy calls it."""
    url = urlsplit(gateway.links.url(job_id, gateway.clock.now + RETENTION))
    return f"{url.path.removeprefix('/v1')}?{url.query}"


def changed(url: str, **query: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{urlencode({**dict(parse_qsl(parts.query)), **query})}"


async def test_the_link_hands_out_the_file(client: httpx.AsyncClient, gateway: FakeGateway) -> None:
    job = completed(gateway)
    response = await client.get(link(gateway, job.job_id))
    assert response.status_code == 200
    assert response.content == CONTENT
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    headers = response.headers
    assert headers["content-type"] == "text/csv; charset=utf-8"
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["content-disposition"] == 'attachment; filename="orders-summary.csv"'
    assert headers["repr-digest"] == f"sha-256=:{digest}:"
    assert headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert headers["x-content-type-options"] == "nosniff"


async def test_head_says_the_same_without_the_file(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    url = link(gateway, completed(gateway).job_id)
    got, head = await client.get(url), await client.head(url)
    assert head.status_code == 200
    assert head.content == b""
    assert dict(head.headers) == dict(got.headers)


@pytest.mark.parametrize(
    ("asked", "content", "content_range"),
    [
        ("bytes=0-2", b"day", "bytes 0-2/24"),
        ("bytes=22-", b"3\n", "bytes 22-23/24"),
        ("bytes=-2", b"3\n", "bytes 22-23/24"),
        ("bytes=4-999", CONTENT[4:], "bytes 4-23/24"),
    ],
)
async def test_a_range_gets_that_part_with_the_digest_of_the_whole(
    client: httpx.AsyncClient, gateway: FakeGateway, asked: str, content: bytes, content_range: str
) -> None:
    url = link(gateway, completed(gateway).job_id)
    whole = await client.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    for if_range in (whole.headers["etag"], whole.headers["last-modified"]):
        part = await client.get(url, headers={"range": asked, "if-range": if_range})
        assert (part.status_code, part.content) == (206, content)
        assert part.headers["content-range"] == content_range
        assert part.headers["content-length"] == str(len(content))
        for name in ("etag", "repr-digest", "content-type", "content-disposition"):
            assert part.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    "headers",
    [
        {"range": "bytes=0-2,5-6"},
        {"range": "pages=1-2"},
        {"range": "bytes=2-1"},
        {"range": "bytes=0-2", "if-range": '"another"'},
        {"range": "bytes=0-2", "if-range": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ],
)
async def test_what_is_no_single_range_of_this_file_gets_the_whole(
    client: httpx.AsyncClient, gateway: FakeGateway, headers: dict[str, str]
) -> None:
    response = await client.get(link(gateway, completed(gateway).job_id), headers=headers)
    assert (response.status_code, response.content) == (200, CONTENT)


async def test_a_range_behind_the_end_is_416_and_says_where_the_end_is(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    response = await client.get(
        link(gateway, completed(gateway).job_id), headers={"range": "bytes=24-"}
    )
    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */24"
    assert response.json()["type"] == "urn:report-jobs:problem:range-not-satisfiable"


async def test_head_has_no_ranges(client: httpx.AsyncClient, gateway: FakeGateway) -> None:
    url = link(gateway, completed(gateway).job_id)
    head = await client.head(url, headers={"range": "bytes=0-2"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_the_client_has_is_304_and_one_that_it_doesnt_mean_412(
    client: httpx.AsyncClient, gateway: FakeGateway, method: str
) -> None:
    url = link(gateway, completed(gateway).job_id)
    whole = await client.get(url)
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]
    for headers in ({"if-none-match": f'"x", {etag}'}, {"if-modified-since": modified}):
        response = await client.request(method, url, headers=headers)
        assert (response.status_code, response.content) == (304, b"")
        assert (response.headers["etag"], response.headers["last-modified"]) == (etag, modified)
    response = await client.request(method, url, headers={"if-match": '"x"'})
    assert response.status_code == 412
    assert (await client.request(method, url, headers={"if-match": etag})).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_store_that_signs_urls_hands_out_the_file_itself(
    client: httpx.AsyncClient, gateway: FakeGateway, method: str
) -> None:
    url = link(gateway, completed(gateway).job_id)
    gateway.artifacts.signs_urls = True
    headers = {"range": "bytes=99-", "if-match": '"of the store"'}
    response = await client.request(method, url, headers=headers)
    assert (response.status_code, response.content) == (307, b"")
    location = f"https://store.example.com/{PATH}?X-Method={method}&X-Expires=300"
    assert response.headers["location"] == location
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert response.headers["repr-digest"] == f"sha-256=:{digest}:"

    gateway.artifacts.files.clear()
    assert (await client.request(method, url)).status_code == 404


@pytest.mark.parametrize(("left", "lifetime"), [(600, 300), (300, 300), (299, 299), (1, 1)])
async def test_a_url_of_the_store_ends_with_the_link_at_the_latest(
    client: httpx.AsyncClient, gateway: FakeGateway, left: int, lifetime: int
) -> None:
    job = completed(gateway)
    gateway.artifacts.signs_urls = True
    url = link(gateway, job.job_id)
    gateway.clock.now += RETENTION - timedelta(seconds=left)
    location = (await client.get(url)).headers["location"]
    assert location.endswith(f"X-Expires={lifetime}")


async def test_the_link_in_the_job_is_the_link_that_works(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = completed(gateway)
    shown = (await client.get(f"/report-jobs/{job.job_id}")).json()["downloadUrl"]
    assert shown.endswith(link(gateway, job.job_id))


@pytest.mark.parametrize(
    ("file_name", "disposition"),
    [
        (
            "Umsätze 2024.csv",
            "attachment; filename=\"Ums_tze_2024.csv\"; filename*=UTF-8''Ums%C3%A4tze%202024.csv",
        ),
        (
            'a"\r\nSet-Cookie: x\\.csv',
            (
                'attachment; filename="a___Set-Cookie__x_.csv"; '
                "filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%5C.csv"
            ),
        ),
    ],
)
async def test_any_file_name_is_a_safe_header(
    client: httpx.AsyncClient, gateway: FakeGateway, file_name: str, disposition: str
) -> None:
    job = completed(gateway, stored(file_name))
    response = await client.get(link(gateway, job.job_id))
    assert response.headers["content-disposition"] == disposition
    assert "set-cookie" not in response.headers


async def test_a_media_type_that_makes_no_sense_is_bytes(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    job = completed(gateway, replace(stored(), media_type="text/html\r\nX: y"))
    response = await client.get(link(gateway, job.job_id))
    assert response.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "query",
    [{"sig": ""}, {"sig": "AAAA"}, {"sig": "é"}, {"exp": "99999999999"}, {"exp": ""},
     {"exp": "-1"}, {"exp": "9" * 5000}, {"exp": "\u0661\u0667"}],
)  # fmt: skip
async def test_a_changed_link_is_403(
    client: httpx.AsyncClient, gateway: FakeGateway, query: dict[str, str], method: str
) -> None:
    url = changed(link(gateway, completed(gateway).job_id), **query)
    response = await client.request(method, url)
    assert response.status_code == 403


async def test_a_link_without_its_query_is_403(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    response = await client.get(f"/report-jobs/{completed(gateway).job_id}/download")
    assert response.json()["type"] == "urn:report-jobs:problem:link-invalid"


async def test_the_link_of_one_job_doesnt_open_another(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    one, other = completed(gateway), completed(gateway)
    url = link(gateway, one.job_id).replace(one.job_id, other.job_id)
    assert (await client.get(url)).status_code == 403


async def test_every_change_of_one_character_of_the_signature_is_403(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    url = link(gateway, completed(gateway).job_id)
    start = url.index("sig=") + len("sig=")
    for place in range(start, len(url)):
        other = "A" if url[place] != "A" else "B"
        response = await client.get(url[:place] + other + url[place + 1 :])
        assert response.status_code == 403, place


async def test_an_expired_link_is_410_and_an_expired_forgery_still_403(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    url = link(gateway, completed(gateway).job_id)
    gateway.clock.now += RETENTION + timedelta(seconds=1)
    response = await client.get(url)
    assert response.status_code == 410
    assert response.json()["type"] == "urn:report-jobs:problem:link-expired"
    assert (await client.get(changed(url, sig="AAAA"))).status_code == 403


async def test_a_job_without_a_report_is_409(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    response = await client.get(link(gateway, gateway.job_ids.new("default")))
    assert response.status_code == 409
    assert response.json()["type"] == "urn:report-jobs:problem:report-not-ready"
    assert "PENDING" in response.json()["detail"]


@pytest.mark.parametrize("job_id", ["job_12345", "job_" + "0" * 40, "..%2f..%2fetc%2fpasswd"])
async def test_no_such_job_is_no_file(
    client: httpx.AsyncClient, gateway: FakeGateway, job_id: str
) -> None:
    response = await client.get(f"/report-jobs/{job_id}/download?exp=1&sig=a")
    assert response.status_code in {403, 404}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("files", [{}, {PATH: [b"another file"]}])
async def test_a_file_that_is_missing_or_another_is_never_handed_out(
    client: httpx.AsyncClient,
    gateway: FakeGateway,
    method: str,
    files: dict[str, list[bytes]],
) -> None:
    job = completed(gateway)
    gateway.artifacts.files = dict(files)
    response = await client.request(method, link(gateway, job.job_id))
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert PATH not in response.text
    if method == "GET":
        assert response.json()["type"] == "urn:report-jobs:problem:artifact-missing"
