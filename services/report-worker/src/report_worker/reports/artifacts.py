"""Writing one artifact to the store: in parts, counted and hashed on the way, or not at all."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import obstore
from obstore.store import LocalStore, ObjectStore

from report_worker.reports.errors import store_unavailable

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, Attributes

PART_BYTES = 8 * 1024 * 1024
_CONCURRENT_PARTS = 2
_HELD_BACK_BYTES = 1024 * 1024


class ArtifactWriter:
    """One artifact on its way to the store.

    Bytes are held back until they are worth the way to the store's threads. A small file is stored
    with a single request when it is complete; a larger one goes out in parts.
    """

    def __init__(
        self, store: ObjectStore, path: str, *, attributes: "Attributes | None", time_limit: float
    ) -> None:
        self._store = store
        self._folder = store.prefix if isinstance(store, LocalStore) else None
        self._path = path
        self._attributes = attributes
        self._time_limit = time_limit
        self._digest = hashlib.sha256()
        self._held_back: list[bytes] = []
        self._held_back_bytes = 0
        self._upload: AsyncWritableFile | None = None
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """The digest of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    async def write(self, data: bytes) -> None:
        """Add bytes.

        They are hashed here and not in a thread: where the data source has but one processor
        beside this one, another thread takes its time from it.
        """
        self._digest.update(data)
        self.bytes += len(data)
        self._held_back.append(data)
        self._held_back_bytes += len(data)
        if self._held_back_bytes > _HELD_BACK_BYTES:
            await self._hand_on()

    async def complete(self) -> None:
        """Make the object appear.

        When this is cancelled or fails, whatever the store still does is waited for and undone:
        else the object might appear after everybody has left.
        """
        if self._upload is None and self._folder is not None:
            with _judged():
                _write_file(f"{self._folder}/{self._path}", b"".join(self._held_back))
            return
        completing = asyncio.ensure_future(self._completed())
        try:
            await asyncio.shield(completing)
        except BaseException:
            await asyncio.wait((completing,), timeout=self._time_limit)
            await discard_artifact(self._store, self._path)
            raise

    async def abort(self, error: BaseException) -> None:
        """Give up the parts that are at the store."""
        if self._upload is None:
            return
        with suppress(TimeoutError, OSError, obstore.exceptions.BaseError):
            async with asyncio.timeout(self._time_limit):
                await self._upload.__aexit__(type(error), error, error.__traceback__)

    async def _hand_on(self) -> None:
        if self._upload is None:
            self._upload = obstore.open_writer_async(
                self._store,
                self._path,
                attributes=self._attributes,
                buffer_size=PART_BYTES,
                max_concurrency=_CONCURRENT_PARTS,
            )
        data = b"".join(self._held_back)
        self._held_back.clear()
        self._held_back_bytes = 0
        await _bounded(self._upload.write(data), self._time_limit)

    async def _completed(self) -> None:
        if self._upload is not None:
            await self._hand_on()
            await _bounded(self._upload.close(), self._time_limit)
            return
        storing = obstore.put_async(
            self._store,
            self._path,
            b"".join(self._held_back),
            attributes=self._attributes,
            use_multipart=False,
        )
        await _bounded(storing, self._time_limit)


def _write_file(path: str, data: bytes) -> None:
    """Make a small file appear as a whole, as the store would do it.

    The store hands each file to another thread, which takes several times as long as the file
    does, and `Path` half as long again. A folder that hangs holds up nothing but this process,
    whose parent keeps the time.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - as above
    partial = f"{path}#1"  # names that end like this are no objects to the store
    try:
        with open(partial, "wb", buffering=0) as file:  # noqa: PTH123 - as above
            file.write(data)
        os.rename(partial, path)  # noqa: PTH104 - as above
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)  # noqa: PTH108 - as above
        raise


@asynccontextmanager
async def artifact_writer(
    store: ObjectStore, path: str, *, media_type: str, time_limit: float
) -> AsyncIterator[ArtifactWriter]:
    """Upload to `path`; leaving with an error or by cancellation leaves no object there.

    `time_limit` bounds each write and the completion, in seconds.
    """
    # A local folder has no place for these; a store's own link has nobody else to add them.
    file_name = path.rpartition("/")[2]
    attributes: Attributes = {
        "Content-Type": media_type,
        "Content-Disposition": f'attachment; filename="{file_name}"',
    }
    writer = ArtifactWriter(
        store,
        path,
        attributes=None if isinstance(store, LocalStore) else attributes,
        time_limit=time_limit,
    )
    try:
        yield writer
        await writer.complete()
    except BaseException as error:
        await writer.abort(error)
        raise


async def discard_artifact(store: ObjectStore, path: str, *, time_limit: float = 10.0) -> None:
    """Delete an object that nobody refers to; one that is gone already, or stays, is no error."""
    with suppress(TimeoutError, OSError, obstore.exceptions.BaseError):
        async with asyncio.timeout(time_limit):
            await obstore.delete_async(store, path)


async def _bounded(operation: Awaitable[object], seconds: float) -> None:
    """Await a store's operation for so long, and judge it."""
    with _judged():
        async with asyncio.timeout(seconds):
            await operation


@contextmanager
def _judged() -> Iterator[None]:
    """Turn a store's errors and its silence into a `ReportError`."""
    try:
        yield
    except (TimeoutError, OSError, obstore.exceptions.BaseError) as error:
        raise store_unavailable(error) from error
