"""Writing artifacts, the same to a local folder and to an object store."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from obstore.store import ObjectStore

from report_worker.reports import ReportError, open_store
from report_worker.reports.artifacts import ArtifactWriter, artifact_writer, discard_artifact
from tests.integration.report_worker.reports.conftest import files_in
from tests.integration.report_worker.reports.test_failures import http_server
from tests.support.object_store import BUCKET, S3, SECRET, run_s3

PATH = "job_1/1/1-token/orders.csv"
MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3]:
    with run_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    for key in s3_server.names():
        s3_server.client.delete_object(Bucket=BUCKET, Key=f"reports/{key}")
    return s3_server


@dataclass(frozen=True)
class Store:
    """A store, and what lies in it: finished files, and what uploads have left."""

    store: ObjectStore
    names: Callable[[], list[str]]
    leftovers: Callable[[], list[object]]


@pytest.fixture(params=["folder", "s3"])
def kind(request: pytest.FixtureRequest, artifacts: Path) -> Store:
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        return Store(open_store(s3.url), s3.names, lambda: list(s3.uploads()))

    def names() -> list[str]:
        return [str(p.relative_to(artifacts)) for p in files_in(artifacts) if "#" not in p.name]

    return Store(
        open_store(artifacts.as_uri()),
        names,
        lambda: [path for path in files_in(artifacts) if "#" in path.name],
    )


@asynccontextmanager
async def writing(store: ObjectStore, limit: float = 30) -> AsyncIterator[ArtifactWriter]:
    async with artifact_writer(store, PATH, media_type=MEDIA_TYPE, time_limit=limit) as writer:
        yield writer


async def write(
    store: ObjectStore,
    pieces: int,
    *,
    limit: float = 30,
    error: type[BaseException] | None = None,
) -> None:
    """Write so many MiB, and then raise, if there is an error to raise."""
    async with writing(store, limit) as writer:
        for _ in range(pieces):
            await writer.write(bytes(MIB))
        if error is not None:
            raise error


@pytest.mark.parametrize("pieces", [0, 1, 20])
async def test_what_is_written_is_there_when_it_is_complete(kind: Store, pieces: int) -> None:
    content = os.urandom(MIB) * pieces
    async with writing(kind.store) as writer:
        for index in range(pieces):
            await writer.write(content[index * MIB : (index + 1) * MIB])
        assert kind.names() == []
    assert kind.names() == [PATH]
    assert kind.leftovers() == []
    stored = await kind.store.get_async(PATH)
    assert bytes(await stored.bytes_async()) == content
    assert (writer.bytes, writer.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("pieces", [0, 1, 20])
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_an_upload_that_is_given_up_leaves_nothing(
    kind: Store, error: type[BaseException], pieces: int
) -> None:
    with pytest.raises(error):
        await write(kind.store, pieces, error=error)
    assert (kind.names(), kind.leftovers()) == ([], [])


async def test_an_artifact_can_be_discarded_and_one_that_is_gone_too(kind: Store) -> None:
    await write(kind.store, 1)
    await discard_artifact(kind.store, PATH)
    assert kind.names() == []
    await discard_artifact(kind.store, PATH)


@pytest.mark.parametrize("pieces", [1, 20])
async def test_an_object_carries_its_media_type_and_file_name(s3: S3, pieces: int) -> None:
    await write(open_store(s3.url), pieces)
    head = s3.client.head_object(Bucket=BUCKET, Key=f"reports/{PATH}")
    assert head["ContentType"] == MEDIA_TYPE
    assert head["ContentDisposition"] == 'attachment; filename="orders.csv"'


@pytest.mark.parametrize("pieces", [1, 20])
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "refuses access"),
        (b"HTTP/1.1 507 Full\r\ncontent-length: 0\r\n\r\n", "is full"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", "is unavailable"),
        (b"", "didn't answer in time"),
    ],
)
async def test_a_store_that_refuses_fails_or_hangs_is_transient_and_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, problem: str, pieces: int
) -> None:
    limit = 1 if answer == b"" else 30
    async with http_server(answer) as endpoint:
        for name, value in S3(endpoint, None).environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ReportError) as failed:
            await write(open_store(f"s3://{BUCKET}"), pieces, limit=limit)
    error = failed.value
    assert error.transient
    assert error.message == f"The report's file could not be stored: the artifact store {problem}."
    assert SECRET not in f"{error!r} {error.__cause__!r}"


async def test_a_store_that_is_not_there_is_transient(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ReportError) as failed:
        await write(open_store("s3://no-such-bucket"), 1)
    assert failed.value.message.endswith("there is no such artifact store.")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ReportError) as failed:
        await write(open_store(f"s3://{BUCKET}"), 1)
    assert failed.value.message.endswith("the artifact store is unavailable.")


@pytest.mark.parametrize("pieces", [6, 20])
def test_a_full_disk_is_transient_and_leaves_nothing(artifacts: Path, pieces: int) -> None:
    """The kernel lets the process write files of 5 MiB: an error of the disk, in the same place."""
    program = f"""
        import asyncio, os, resource
        from report_worker.reports import ReportError, open_store
        from report_worker.reports.artifacts import artifact_writer

        async def write():
            store = open_store({artifacts.as_uri()!r})
            async with artifact_writer(
                store, {PATH!r}, media_type="text/csv", time_limit=30
            ) as writer:
                for _ in range({pieces}):
                    await writer.write(bytes({MIB}))

        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * {MIB}, resource.RLIM_INFINITY))
        try:
            asyncio.run(write())
        except ReportError as error:
            print(error.transient, error.message, flush=True)
        os._exit(0)
    """
    written = subprocess.run(
        [sys.executable, "-P", "-c", dedent(program)], capture_output=True, text=True, check=False
    )
    assert written.stdout == (
        "True The report's file could not be stored: the artifact store is full.\n"
    )
    assert files_in(artifacts) == []
