"""The peer of the gateway: its two routes with its models, in FastAPI, and nothing behind them.

Run as `python -m benchmarks.bare PORT`. It is served as the services are, by `shared.service`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI

from benchmarks.errors import BenchmarkError
from gateway.domain import JobStatus
from gateway.routes.contract import GenerateReportRequest, ReportJob
from local_stack.child import ChildProcess, ProcessSpec, describe_log
from local_stack.paths import CHECKOUT
from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK, is_free
from shared.clock import utc_now
from shared.service import serve
from shared.settings import ServerSettings

_JOB_ID = "job_" + "0" * 40
_RETENTION = timedelta(days=7)
_START_SECONDS = 30.0

app = FastAPI()


@app.post("/generate-report", status_code=202)
async def generate_report(request: GenerateReportRequest) -> ReportJob:
    """Read a request and answer with a job that nobody runs."""
    now = utc_now()
    return ReportJob(
        job_id=_JOB_ID,
        status=JobStatus.PENDING,
        report_type=request.report_type,
        format=request.format,
        created_at=now,
        updated_at=now,
        expires_at=now + _RETENTION,
    )


@app.get("/report-jobs/{job_id}")
async def get_report_job(job_id: str) -> ReportJob:
    """Answer with a job as if it had been looked up."""
    now = utc_now()
    return ReportJob(
        job_id=job_id,
        status=JobStatus.COMPLETED,
        report_type="NO_OP",
        format="CSV",
        created_at=now,
        started_at=now,
        updated_at=now,
        finished_at=now,
        expires_at=now + _RETENTION,
        download_url=f"http://{LOOPBACK}/report-jobs/{job_id}/download?exp=0&sig={'0' * 43}",
        row_count=0,
        byte_count=0,
    )


@asynccontextmanager
async def running_bare_app(port: int, log: Path) -> AsyncIterator[int]:
    """Serve the bare routes from a process of their own while the body runs; give its id.

    Raises:
        BenchmarkError: where they can't be served.

    """
    process = await ChildProcess.start(
        ProcessSpec(
            name="bare",
            command=(sys.executable, "-m", "benchmarks.bare", str(port)),
            log=log,
            environment=dict(os.environ),
            directory=CHECKOUT,
        )
    )

    async def listens() -> bool:
        return not await asyncio.to_thread(is_free, port)

    try:
        await _wait_until(listens, log)
        yield process.identity.pid
    finally:
        await process.stop()


async def _wait_until(listens: Callable[[], Awaitable[bool]], log: Path) -> None:
    try:
        await poll_until(listens, seconds=_START_SECONDS)
    except TimeoutError:
        raise BenchmarkError(f"the bare routes can't be served; {describe_log(log)}") from None


if __name__ == "__main__":
    serve(app, ServerSettings(host=LOOPBACK, port=int(sys.argv[1])))
