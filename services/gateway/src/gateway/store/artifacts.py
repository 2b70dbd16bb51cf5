"""Reads report files from the artifact store; paths come from the read model, never a client."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url
from typing_extensions import Buffer

from gateway.domain import ArtifactMissingError, ArtifactStoreUnavailableError, ByteRange

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_CHUNK_BYTES: Final = 256 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OpenArtifact:
    """A file that is there: its size as the store has it, and bytes of it, to be read once."""

    byte_count: int
    chunks: AsyncGenerator[bytes, None]


class ArtifactStore:
    """The object store behind `ARTIFACTS_URL`.

    `timeout` in seconds, for each answer of it. `url_lifetime` is how long a signed URL works;
    without it, and where the store is a folder, none are made.
    """

    def __init__(self, url: str, timeout: float, url_lifetime: timedelta | None = None) -> None:
        self._store = _open(url)
        self._timeout = timeout
        self._url_lifetime = url_lifetime

    @property
    def signs_urls(self) -> bool:
        """Whether clients are to fetch files from the store itself."""
        return self._url_lifetime is not None and isinstance(
            self._store, S3Store | GCSStore | AzureStore
        )

    async def signed_url(
        self, path: str, method: Literal["GET", "HEAD"], longest: timedelta
    ) -> str:
        """Return a URL by which anybody may use `method` on a file, for no longer than `longest`.

        Raises:
            ArtifactStoreUnavailableError: where the right to sign can't be had.

        """
        store, lifetime = self._store, self._url_lifetime
        if lifetime is None or not isinstance(store, S3Store | GCSStore | AzureStore):
            raise TypeError("this store signs no URLs")
        return await self._answer(
            obstore.sign_async(store, method, path, min(lifetime, longest)), path
        )

    async def size(self, path: str) -> int:
        """Return the size of a file in bytes.

        Raises:
            ArtifactMissingError: where there is no such file.
            ArtifactStoreUnavailableError: where the store doesn't answer.

        """
        meta = await self._answer(self._store.head_async(path), path)
        return meta["size"]

    async def open(self, path: str, part: ByteRange | None = None) -> OpenArtifact:
        """Open a file for reading, or a part of it, which has to lie within.

        Raises:
            ArtifactMissingError: where there is no such file.
            ArtifactStoreUnavailableError: where the store doesn't answer.

        """
        bounds = (part.start, part.end) if part is not None else None
        get = self._store.get_async(path, options={"range": bounds} if bounds else None)
        result = await self._answer(get, path)
        parts = aiter(result.stream(min_chunk_size=_CHUNK_BYTES))
        return OpenArtifact(byte_count=result.meta["size"], chunks=self._chunks(parts, path))

    async def _answer(self, answer: Awaitable[_T], path: str) -> _T:
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except (FileNotFoundError, ValueError) as error:  # a path that leads out names no file
            raise ArtifactMissingError(path) from error
        except (BaseError, OSError) as error:
            raise ArtifactStoreUnavailableError(type(error).__name__) from error

    async def _chunks(self, parts: AsyncIterator[Buffer], path: str) -> AsyncGenerator[bytes, None]:
        while (part := await self._answer(anext(parts, None), path)) is not None:
            yield bytes(part)


def _open(url: str) -> ObjectStore:
    try:
        if url.startswith("file:"):
            return from_url(url, mkdir=True)  # whoever comes first makes the folder
        # A download takes as long as its reader; each part of it has a time limit here.
        options: ClientConfig = {"timeout": timedelta(days=1)}
        if os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true":
            options["allow_http"] = True  # options make the store forget this variable
        return from_url(url, client_options=options)
    except (BaseError, ValueError) as error:
        # The URL may hold credentials, and the error may quote it.
        problem = "is not the URL of an artifact store that can be opened, such as file:///reports"
        raise ValueError(f"ARTIFACTS_URL {problem} ({type(error).__name__})") from None
