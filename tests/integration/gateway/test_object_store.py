"""Reports in an object store: the stable link leads there, by a URL made at that moment."""

import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_stack.polling import poll_until
from report_worker.object_store import open_store
from report_worker.reports.artifacts import artifact_writer
from shared.clock import utc_now
from shared.job_id import JobId, created_at
from tests.integration.gateway.bench import PUBLIC_URL, RETENTION, configure, prepare
from tests.integration.gateway.conftest import PATIENCE
from tests.integration.gateway.live import Live, open_live
from tests.support.object_store import BUCKET, S3, SECRET, run_s3
from tests.support.servers import DatabaseUrls, Kafka

CONTENT: Final = hashlib.shake_128(b"report").digest(300_000)
FILE_NAME: Final = "orders-summary.csv"
MEDIA_TYPE: Final = "text/csv; charset=utf-8"
LIFETIME: Final = 120


@dataclass(frozen=True, slots=True)
class Report:
    """A completed job whose file lies in the bucket."""

    job_id: JobId
    key: str
    link: str


@dataclass(frozen=True, slots=True)
class Reports:
    """A gateway in front of a bucket, and the worker's way into it."""

    live: Live
    s3: S3

    async def add(self) -> Report:
        """Store a file as the worker does, and complete its job."""
        job_id = self.live.new_id()
        path = f"{job_id}/1/1-token/{FILE_NAME}"
        store = open_store(self.s3.url)
        async with artifact_writer(store, path, media_type=MEDIA_TYPE, time_limit=60) as writer:
            await writer.write(CONTENT)
        columns: dict[str, Any] = {
            "status": "COMPLETED",
            "finished_at": utc_now(),
            "artifact_path": path,
            "file_name": FILE_NAME,
            "media_type": MEDIA_TYPE,
            "byte_count": writer.bytes,
            "sha256": writer.sha256,
        }
        await self.live.bench.add_job(job_id, **columns)
        link = self.live.bench.links.url(job_id, created_at(job_id) + RETENTION)
        return Report(job_id, f"reports/{path}", link.removeprefix(PUBLIC_URL))

    async def ask(self, report: Report, method: str = "GET", **headers: str) -> httpx.Response:
        """Use the link, and go no further."""
        return await self.live.client.request(method, report.link, headers=headers)

    async def follow(self, report: Report, method: str = "GET", **headers: str) -> httpx.Response:
        """Use the link as a browser does."""
        return await self.live.client.request(
            method, report.link, headers=headers, follow_redirects=True
        )


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with run_s3() as server:
        yield server


@pytest.fixture
async def reports(
    request: pytest.FixtureRequest,
    s3: S3,
    kafka: Kafka,
    database: DatabaseUrls,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Reports]:
    """A gateway with the bucket for its artifacts; a test may change its settings."""
    configure(monkeypatch, kafka.bootstrap_servers, database, topic_prefix, tmp_path)
    own = {**PATIENCE, "DOWNLOAD_URL_LIFETIME": str(LIFETIME), "STORE_TIMEOUT": "60"}
    own |= getattr(request, "param", {})
    variables = {f"GATEWAY_{name}": value for name, value in own.items()}
    for name, value in {**s3.environment, "ARTIFACTS_URL": s3.url, **variables}.items():
        monkeypatch.setenv(name, value)
    await prepare(database)
    async with open_live(kafka.bootstrap_servers, database, topic_prefix, tmp_path) as live:
        yield Reports(live, s3)


def signature_of(method: str, url: str) -> str:
    """Sign as the store's own library does, for the moment and time that the URL names."""
    address, _, signature = url.rpartition("&X-Amz-Signature=")
    query = parse_qs(urlsplit(address).query)
    assert signature
    credentials, region = Credentials("test", SECRET), "us-east-1"
    signer = S3SigV4QueryAuth(credentials, "s3", region, int(query["X-Amz-Expires"][0]))
    request = AWSRequest(method=method, url=address)
    request.context["timestamp"] = query["X-Amz-Date"][0]
    signed: str = signer.signature(
        signer.string_to_sign(request, signer.canonical_request(request)), request
    )
    return signed


async def test_the_link_leads_to_the_file_in_the_store(reports: Reports) -> None:
    report = await reports.add()
    redirect = await reports.ask(report)
    assert (redirect.status_code, redirect.content) == (307, b"")
    assert redirect.headers["cache-control"] == "no-store"
    assert redirect.headers["location"].startswith(f"{reports.s3.endpoint}/{BUCKET}/{report.key}?")

    response = await reports.follow(report)
    assert response.status_code == 200
    assert response.content == CONTENT
    digest = base64.b64encode(hashlib.sha256(response.content).digest()).decode()
    assert redirect.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.headers["content-disposition"] == f'attachment; filename="{FILE_NAME}"'
    assert response.headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_url_is_signed_at_that_moment_for_that_method_and_a_short_time(
    reports: Reports, method: str
) -> None:
    report = await reports.add()
    before = utc_now().replace(microsecond=0)
    url = (await reports.ask(report, method)).headers["location"]
    query = parse_qs(urlsplit(url).query)
    signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert before <= signed_at <= utc_now()
    assert query["X-Amz-Expires"] == [str(LIFETIME)]
    assert query["X-Amz-Signature"] == [signature_of(method, url)]
    assert SECRET not in url


async def test_each_use_of_the_link_makes_a_url_of_its_own(reports: Reports) -> None:
    report = await reports.add()
    first = (await reports.ask(report)).headers["location"]

    async def is_new() -> bool:
        return bool((await reports.ask(report)).headers["location"] != first)

    await poll_until(is_new, seconds=30)
    assert (await reports.follow(report)).content == CONTENT


async def test_parts_of_the_file_are_had_through_the_redirect(reports: Reports) -> None:
    report = await reports.add()
    whole = await reports.follow(report)
    part = await reports.follow(
        report, range="bytes=100000-", **{"if-range": whole.headers["etag"]}
    )
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 100000-299999/{len(CONTENT)}"
    assert part.content == CONTENT[100_000:]
    assert (await reports.follow(report, range="bytes=900000-")).status_code == 416


async def test_head_describes_the_file_through_the_redirect(reports: Reports) -> None:
    report = await reports.add()
    response = await reports.follow(report, "HEAD")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len(CONTENT))
    assert response.headers["content-disposition"] == f'attachment; filename="{FILE_NAME}"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("replacement", [None, b"another, shorter file"])
async def test_a_file_that_is_gone_or_another_is_a_problem_here_and_no_url(
    reports: Reports, method: str, replacement: bytes | None
) -> None:
    report = await reports.add()
    if replacement is None:
        reports.s3.client.delete_object(Bucket=BUCKET, Key=report.key)
    else:
        reports.s3.client.put_object(Bucket=BUCKET, Key=report.key, Body=replacement)
    response = await reports.ask(report, method)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    if method == "GET":
        assert response.json()["type"] == "urn:report-jobs:problem:artifact-missing"


async def test_a_deleted_job_leads_nowhere_although_its_file_is_still_there(
    reports: Reports,
) -> None:
    report = await reports.add()
    await reports.live.admin.execute("DELETE FROM read_model.jobs WHERE job_id = $1", report.job_id)
    await reports.live.bench.add_tombstone(report.job_id)
    response = await reports.ask(report)
    assert response.status_code == 410
    assert response.json()["type"] == "urn:report-jobs:problem:job-deleted"


@pytest.mark.parametrize("reports", [{"DOWNLOADS": "stream"}], indirect=True)
async def test_where_clients_cant_reach_the_store_its_files_come_through_the_gateway(
    reports: Reports,
) -> None:
    report = await reports.add()
    whole = await reports.ask(report)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["content-disposition"] == f'attachment; filename="{FILE_NAME}"'
    assert whole.headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    part = await reports.ask(report, range="bytes=-1000", **{"if-range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, CONTENT[-1000:])
    assert part.headers["repr-digest"] == whole.headers["repr-digest"]
    reports.s3.client.delete_object(Bucket=BUCKET, Key=report.key)
    assert (await reports.ask(report)).status_code == 404
