"""Writing one artifact to the store: in parts, counted and hashed on the way, or not at all."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import obstore
from obstore.store import LocalStore, ObjectStore

from report_worker.reports.errors import store_unavailable

if TYPE_CHECKING:
    from obstore import AsyncWritableFile

PART_BYTES = 8 * 1024 * 1024
_CONCURRENT_PARTS = 2


class ArtifactWriter:
    """The open upload of one artifact."""

    def __init__(self, upload: "AsyncWritableFile", executor: Executor, time_limit: float) -> None:
        self._upload = upload
        self._executor = executor
        self._time_limit = time_limit
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """The digest of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    async def write(self, data: bytes) -> None:
        """Add bytes; hashing runs beside the upload in a thread of its own."""
        if not data:
            return
        hashing = asyncio.get_running_loop().run_in_executor(
            self._executor, self._digest.update, data
        )
        try:
            await _bounded(self._upload.write(data), self._time_limit)
        finally:
            await hashing
        self.bytes += len(data)


@asynccontextmanager
async def artifact_writer(
    store: ObjectStore, path: str, *, media_type: str, time_limit: float
) -> AsyncIterator[ArtifactWriter]:
    """Upload to `path`; leaving with an error or by cancellation leaves no object there.

    `time_limit` bounds each write and the completion, in seconds.
    """
    # A local folder has no place for these; a store's own link has nobody else to add them.
    file_name = path.rpartition("/")[2]
    attributes = {
        "Content-Type": media_type,
        "Content-Disposition": f'attachment; filename="{file_name}"',
    }
    upload = obstore.open_writer_async(
        store,
        path,
        attributes=None if isinstance(store, LocalStore) else attributes,
        buffer_size=PART_BYTES,
        max_concurrency=_CONCURRENT_PARTS,
    )
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sha256") as executor:
        try:
            yield ArtifactWriter(upload, executor, time_limit)
            await _bounded(upload.close(), time_limit)
        except BaseException as error:
            with suppress(TimeoutError, OSError, obstore.exceptions.BaseError):
                async with asyncio.timeout(time_limit):
                    await upload.__aexit__(type(error), error, error.__traceback__)
            raise


async def discard_artifact(store: ObjectStore, path: str, *, time_limit: float = 10.0) -> None:
    """Delete an object that nobody refers to; one that is gone already, or stays, is no error."""
    with suppress(TimeoutError, OSError, obstore.exceptions.BaseError):
        async with asyncio.timeout(time_limit):
            await obstore.delete_async(store, path)


async def _bounded(operation: Awaitable[object], seconds: float) -> None:
    """Await a store's operation; its errors and its silence become a `ReportError`."""
    try:
        async with asyncio.timeout(seconds):
            await operation
    except (TimeoutError, OSError, obstore.exceptions.BaseError) as error:
        raise store_unavailable(error) from error
