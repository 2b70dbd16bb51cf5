"""Reads report files from the artifact store; paths come from the read model, never a client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url
from typing_extensions import Buffer

from gateway.domain import ArtifactMissingError, ArtifactStoreUnavailableError

_CHUNK_BYTES: Final = 256 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OpenArtifact:
    """A file that is there: its size as the store has it, and its bytes, to be read once."""

    byte_count: int
    chunks: AsyncIterator[bytes]


class ArtifactStore:
    """The object store behind `ARTIFACTS_URL`. `timeout` in seconds, for each answer of it."""

    def __init__(self, url: str, timeout: float) -> None:
        self._store = _open(url)
        self._timeout = timeout

    async def size(self, path: str) -> int:
        """Return the size of a file in bytes.

        Raises:
            ArtifactMissingError: where there is no such file.
            ArtifactStoreUnavailableError: where the store doesn't answer.

        """
        meta = await self._answer(self._store.head_async(path), path)
        return meta["size"]

    async def open(self, path: str) -> OpenArtifact:
        """Open a file for reading.

        Raises:
            ArtifactMissingError: where there is no such file.
            ArtifactStoreUnavailableError: where the store doesn't answer.

        """
        result = await self._answer(self._store.get_async(path), path)
        parts = aiter(result.stream(min_chunk_size=_CHUNK_BYTES))
        return OpenArtifact(byte_count=result.meta["size"], chunks=self._chunks(parts))

    async def _answer(self, answer: Awaitable[_T], path: str) -> _T:
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except FileNotFoundError as error:
            raise ArtifactMissingError(path) from error
        except (BaseError, OSError) as error:
            raise ArtifactStoreUnavailableError(type(error).__name__) from error

    async def _chunks(self, parts: AsyncIterator[Buffer]) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(self._timeout):
                part = await anext(parts, None)
            if part is None:
                return
            yield bytes(part)


def _open(url: str) -> ObjectStore:
    try:
        if url.startswith("file:"):
            return from_url(url, mkdir=True)  # whoever comes first makes the folder
        # A download takes as long as its reader; each part of it has a time limit here.
        return from_url(url, client_options={"timeout": timedelta(days=1)})
    except (BaseError, ValueError) as error:
        # The URL may hold credentials, and the error may quote it.
        problem = "is not the URL of an artifact store that can be opened, such as file:///reports"
        raise ValueError(f"ARTIFACTS_URL {problem} ({type(error).__name__})") from None
