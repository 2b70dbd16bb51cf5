"""The artifact store: files and parts of them in a folder, signed URLs of an object store."""

import hashlib
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.domain import ArtifactMissingError, ArtifactStoreUnavailableError, ByteRange
from gateway.store import ArtifactStore

CONTENT = hashlib.shake_128(b"report").digest(1_000_000)
FIVE_MINUTES = timedelta(minutes=5)
RETENTION = timedelta(days=7)


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactStore:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "report.csv").write_bytes(CONTENT)
    (tmp_path / "secret").write_bytes(b"secret")
    return ArtifactStore((tmp_path / "store").as_uri(), 10.0, FIVE_MINUTES)


@pytest.mark.parametrize(
    "part", [None, ByteRange(0, 1), ByteRange(300_000, 900_000), ByteRange(999_999, 1_000_000)]
)
async def test_a_file_is_read_in_pieces_from_where_it_is_asked_for(
    folder: ArtifactStore, part: ByteRange | None
) -> None:
    opened = await folder.open("report.csv", part)
    pieces = [piece async for piece in opened.chunks]
    expected = CONTENT if part is None else CONTENT[part.start : part.end]
    assert (b"".join(pieces), opened.byte_count) == (expected, len(CONTENT))
    assert max(map(len, pieces)) <= 512 * 1024


@pytest.mark.parametrize("path", ["missing.csv", "../secret", "a/../../secret"])
async def test_what_is_not_in_the_store_is_missing(folder: ArtifactStore, path: str) -> None:
    with pytest.raises(ArtifactMissingError):
        await folder.size(path)
    with pytest.raises(ArtifactMissingError):
        await folder.open(path)


def test_a_folder_signs_no_urls(folder: ArtifactStore) -> None:
    assert not folder.signs_urls


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not shown to anybody")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


@pytest.mark.usefixtures("credentials")
async def test_an_object_store_signs_urls_that_end_soon() -> None:
    store = ArtifactStore("s3://bucket/prefix", 10.0, FIVE_MINUTES)
    assert store.signs_urls
    url = urlsplit(await store.signed_url("job/1/report.csv", "GET", RETENTION))
    assert url.path.endswith("/prefix/job/1/report.csv")
    query = parse_qs(url.query)
    assert query["X-Amz-Expires"] == ["300"]
    assert "not shown" not in url.query
    other = urlsplit(await store.signed_url("job/1/report.csv", "HEAD", RETENTION))
    assert parse_qs(other.query)["X-Amz-Signature"] != query["X-Amz-Signature"]
    shorter = urlsplit(await store.signed_url("job/1/report.csv", "GET", timedelta(seconds=7)))
    assert parse_qs(shorter.query)["X-Amz-Expires"] == ["7"]


@pytest.mark.usefixtures("credentials")
def test_no_urls_are_signed_where_files_are_to_be_streamed() -> None:
    assert not ArtifactStore("s3://bucket", 10.0, None).signs_urls


@pytest.mark.usefixtures("credentials")
async def test_a_store_that_is_away_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    store = ArtifactStore("s3://bucket", 0.2, None)
    with pytest.raises(ArtifactStoreUnavailableError):
        await store.open("report.csv")
