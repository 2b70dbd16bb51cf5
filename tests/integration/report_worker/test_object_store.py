"""Workers whose artifacts go to an S3 server: finished, cut off by a kill, and given up."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from local_stack.paths import CATALOGUE as SHIPPED
from local_stack.source_data import create_tables
from report_worker.execution import child_process
from report_worker.execution.child_pool import ChildPool
from report_worker.execution.protocol import Assignment, Setup
from shared.events import CancelRequested, JobCompleted
from shared.job_id import JobId
from tests.integration.report_worker.reports.conftest import report_spec, report_type
from tests.support.object_store import BUCKET, S3, run_s3
from tests.support.report_runs import NOON, job_id
from tests.support.report_worker import (
    CATALOGUE,
    PATIENCE,
    QUICK,
    SHORT_LEASE,
    Gate,
    WorkerBench,
    eventually,
    worker_bench,
)
from tests.support.servers import DatabaseUrls, Kafka

ROWS = 20_000
LARGE = "SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000)"
"""Of 20 MB: two parts of an upload, and some more."""

TYPES = {
    "LARGE": {"source": "orders", "sql": LARGE},
    "LARGE_AND_GATED": CATALOGUE["GATED"]
    | {"sql": f"{LARGE} UNION ALL {CATALOGUE['GATED']['sql']}"},
}


@pytest.fixture
def s3() -> Iterator[S3]:
    with run_s3() as server:
        yield server


@pytest.fixture
async def on_s3(
    kafka: Kafka, database: DatabaseUrls, topic_prefix: str, tmp_path: Path, s3: S3
) -> AsyncIterator[WorkerBench]:
    """Workers that know no store but the bucket."""
    async with worker_bench(
        tmp_path,
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=topic_prefix,
        database_url=database.report_worker,
        sources={"orders": database.report_source},
        catalogue=TYPES,
        settings={**QUICK, **s3.environment, "ARTIFACTS_URL": s3.url},
    ) as bench:
        yield bench


def content(s3: S3, bench: WorkerBench, job: JobId) -> bytes:
    """Return the file that a job ended with, which is the only one in the bucket."""
    completed = bench.events.ended(job)
    assert isinstance(completed, JobCompleted)
    artifact = completed.artifact
    assert s3.names() == [artifact.path]
    stored: bytes = s3.client.get_object(Bucket=BUCKET, Key=f"reports/{artifact.path}")[
        "Body"
    ].read()
    assert (len(stored), hashlib.sha256(stored).hexdigest()) == (
        artifact.byte_count,
        artifact.sha256,
    )
    return stored


async def test_the_shipped_export_of_customers_goes_to_the_object_store(
    on_s3: WorkerBench, s3: S3, database: DatabaseUrls, tmp_path: Path
) -> None:
    shutil.copy(SHIPPED / "customers-export.yaml", tmp_path / "catalogue")
    await create_tables(database.admin)
    admin = await asyncpg.connect(database.admin)
    await admin.execute(
        "INSERT INTO shop.customers VALUES ('C1', 'Zoé', NULL, 'FR', NULL, '2024-01-02 12:00Z')"
    )
    await admin.close()
    await on_s3.start_worker()
    job = await on_s3.submit("CUSTOMERS_EXPORT")
    await on_s3.told(job, "1 started", "1 completed")
    header, row = content(s3, on_s3, job).decode().splitlines()
    assert header.startswith("customer_id,name,")
    assert row.startswith("C1,Zoé,")


async def test_a_job_whose_worker_is_killed_during_its_upload_is_done_again(
    on_s3: WorkerBench, s3: S3
) -> None:
    s3.parts.close()
    worker = await on_s3.start_worker(lease=SHORT_LEASE)
    job = await on_s3.submit("LARGE")
    await eventually(lambda: s3.parts.waiting > 0)
    await worker.kill()
    s3.parts.open()
    await on_s3.start_worker()
    await on_s3.told(job, "1 started", "1 LOST", "2 started", "2 completed")
    assert content(s3, on_s3, job) == b"x\r\n" + ROWS * (1000 * b"x" + b"\r\n")


async def test_a_job_that_is_cancelled_during_its_upload_leaves_no_report(
    on_s3: WorkerBench, s3: S3, gate: Gate
) -> None:
    await on_s3.start_worker()
    job = await on_s3.submit("LARGE_AND_GATED")
    await gate.wait_for(1)
    await eventually(lambda: s3.uploads() != [])
    await on_s3.ask(CancelRequested, job)
    await on_s3.told(job, "1 started", "1 CANCELLED")
    # The parts of a child that had to be killed are left to the bucket's own rule.
    assert s3.names() == []


async def test_a_child_that_is_given_the_time_to_stop_leaves_nothing_of_its_upload(
    s3: S3, database: DatabaseUrls, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "_STOP_TIMEOUT", PATIENCE)  # a busy one may take a second
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    kind = report_type(TYPES["LARGE_AND_GATED"]["sql"], {"x": "text"})
    setup = Setup(
        catalogue=(kind,),
        sources={"orders": database.report_source},
        artifacts_url=s3.url,
        log_level="ERROR",
        memory_limit=1024**3,
    )
    assignment = Assignment(
        job_id=job_id(1),
        run=1,
        attempt=1,
        folder="job_1/1/1-token",
        request=report_spec(kind).request,
        started_at=NOON,
        max_duration=600,
    )
    pool = ChildPool(setup, size=1, patience=PATIENCE)
    async with pool.warm(lambda: None):
        running = asyncio.create_task(pool.execute(assignment, lambda _: None))
        await gate.wait_for(1)
        await eventually(lambda: s3.uploads() != [])
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (s3.names(), s3.uploads()) == ([], [])


async def test_a_job_is_cancelled_though_the_store_hangs_and_its_file_never_appears(
    on_s3: WorkerBench, s3: S3
) -> None:
    s3.parts.close()
    await on_s3.start_worker(slots="1")
    job = await on_s3.submit("LARGE")
    await eventually(lambda: s3.parts.waiting > 0)
    await on_s3.ask(CancelRequested, job)
    await on_s3.told(job, "1 started", "1 CANCELLED")
    s3.parts.open()
    following = await on_s3.submit("LARGE")
    await on_s3.told(following, "1 started", "1 completed")
    content(s3, on_s3, following)
