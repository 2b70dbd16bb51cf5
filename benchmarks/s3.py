"""An S3 server for a measurement: a process of its own, which keeps objects in memory."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import boto3
from botocore.exceptions import BotoCoreError
from obstore.store import S3Store

from benchmarks.errors import BenchmarkError
from local_stack.ports import LOOPBACK

_BUCKET: Final = "artifacts"
_REGION: Final = "us-east-1"
_KEY: Final = "test"
_START_SECONDS: Final = 60.0
_LOOKS_EVERY: Final = 0.2


@asynccontextmanager
async def s3_bucket(port: int) -> AsyncIterator[S3Store]:
    """Run a server on this port while the body runs; give its only bucket, which is empty.

    Raises:
        BenchmarkError: where the server doesn't start.

    """
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moto.server", "--host", LOOPBACK, "--port", str(port),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    endpoint = f"http://{LOOPBACK}:{port}"
    try:
        await _create_bucket(endpoint)
        yield S3Store(
            _BUCKET,
            endpoint=endpoint,
            access_key_id=_KEY,
            secret_access_key=_KEY,
            region=_REGION,
            client_options={"allow_http": True},
        )
    finally:
        server.terminate()
        await server.wait()


async def _create_bucket(endpoint: str) -> None:
    """Try until the server is there."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=_KEY,
        aws_secret_access_key=_KEY,
        region_name=_REGION,
    )
    deadline = time.perf_counter() + _START_SECONDS
    while True:
        try:
            await asyncio.to_thread(client.create_bucket, Bucket=_BUCKET)
        except BotoCoreError as error:
            if time.perf_counter() > deadline:
                raise BenchmarkError(f"the S3 server didn't start: {error}") from error
            await asyncio.sleep(_LOOKS_EVERY)
        else:
            return
