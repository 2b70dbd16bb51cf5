"""Looking through the artifact store in the order of job ids, and deleting what is in it."""

import asyncio
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import ObjectStore

from report_worker.object_store import open_store
from shared.clock import Clock, utc_now
from shared.job_id import JobId

if TYPE_CHECKING:
    from obstore import ObjectMeta

_PAGE: Final = 1000
_EMPTY_FOR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that lies in the store."""

    path: str
    modified_at: datetime


class Artifacts(Protocol):
    """An artifact store. Each method may take long: its caller limits it."""

    async def page(self, after: str) -> Sequence[Listed]:
        """Return files whose paths sort behind `after`, the first ones first; none at the end."""

    async def of_job(self, job_id: JobId) -> Sequence[Listed]:
        """Return all files of a job."""

    async def delete(self, paths: Collection[str]) -> None:
        """Delete files; those that are gone already are no error.

        One that can't be deleted is no reason to leave the others, but raises afterwards.
        """


def open_artifacts(url: str) -> Artifacts:
    """Open the store behind `ARTIFACTS_URL`."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    return Bucket(open_store(url))


class Bucket:
    """An object store. Uploads that were cut off don't show; its own rules expire them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def page(self, after: str) -> Sequence[Listed]:
        """Return the store's next page."""
        pages = obstore.list(self._store, offset=after or None, chunk_size=_PAGE)
        found: Sequence[ObjectMeta] = await anext(aiter(pages), [])
        return [Listed(one["path"], one["last_modified"]) for one in found]

    async def of_job(self, job_id: JobId) -> Sequence[Listed]:
        """List by prefix."""
        found = await obstore.list(self._store, prefix=job_id).collect_async()
        return [Listed(one["path"], one["last_modified"]) for one in found]

    async def delete(self, paths: Collection[str]) -> None:
        """Delete them with as few requests as the store takes."""
        if paths:
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, list(paths))


class Folder:
    """A local folder, with what uploads that were cut off have left in it.

    Folders that have become empty are deleted too. An attempt that is about to write makes its own
    again.
    """

    def __init__(self, root: Path, clock: Clock = utc_now) -> None:
        self._root = root
        self._clock = clock
        self._position = ""
        self._ahead: list[str] = []
        """The jobs behind the last page that was returned, the next one last."""

    async def page(self, after: str) -> Sequence[Listed]:
        """Walk whole jobs until there are enough files."""
        return await asyncio.to_thread(self._page, after)

    async def of_job(self, job_id: JobId) -> Sequence[Listed]:
        """Walk one job."""
        return await asyncio.to_thread(lambda: list(self._walk(job_id)))

    async def delete(self, paths: Collection[str]) -> None:
        """Delete files, and the folders above them that are left empty."""
        await asyncio.to_thread(self._delete, paths)

    def _page(self, after: str) -> list[Listed]:
        """List the jobs anew unless this is the page after the last one.

        Listing and sorting all of them for each page takes a time that grows with their square.
        """
        if not after or after != self._position:
            self._ahead = self._jobs(after.partition("/")[0])
        found: list[Listed] = []
        while self._ahead and len(found) < _PAGE:
            found += self._walk(self._ahead.pop())
        self._position = found[-1].path if found else ""
        return found

    def _jobs(self, after: str) -> list[str]:
        names = (path.name for path in self._root.iterdir()) if self._root.is_dir() else ()
        return sorted((name for name in names if name > after), reverse=True)

    def _walk(self, job: str) -> Iterator[Listed]:
        """Give the files below a folder; what vanishes meanwhile isn't there."""
        for name, _, files in os.walk(self._root / job, topdown=False):
            folder = Path(name)
            for file in files:
                with suppress(FileNotFoundError):
                    path = folder / file
                    yield Listed(str(path.relative_to(self._root)), _modified_at(path))
            if not files:
                self._tidy(folder)

    def _tidy(self, folder: Path) -> None:
        """Remove a folder that an attempt made and never wrote to, or gave up writing to."""
        with suppress(FileNotFoundError):
            if _modified_at(folder) < self._clock() - _EMPTY_FOR:
                _removed(folder)

    def _delete(self, paths: Collection[str]) -> None:
        failed: OSError | None = None
        for path in paths:
            file = self._root / path
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                failed = error
                continue
            for folder in file.parents:
                if folder == self._root or not _removed(folder):
                    break
        if failed is not None:
            raise failed


def _modified_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def _removed(folder: Path) -> bool:
    """Remove a folder if it is empty; say whether it is gone."""
    with suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError:
            return False
    return True
