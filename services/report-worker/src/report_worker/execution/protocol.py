"""What parent and child say to each other: JSON in frames of a 4-byte length, over one socket."""

import asyncio
import struct
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shared.catalogue import ReportType
from shared.events import Artifact
from shared.report_request import ReportRequest

_LENGTH: Final = struct.Struct(">I")
_LONGEST_FRAME: Final = 64 * 1024 * 1024


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Setup(_Message):
    """First frame to a child: all that it needs, so that no secret stands in its environment."""

    catalogue: tuple[ReportType, ...]
    sources: Annotated[dict[str, str], Field(repr=False)]
    artifacts_url: str
    log_level: str


class Assignment(_Message):
    """One attempt to execute; the file goes into `folder` of the artifact store."""

    job_id: str
    run: int
    attempt: int
    folder: str
    request: ReportRequest
    started_at: datetime


class Ready(_Message):
    """A child can take assignments."""

    kind: Literal["ready"] = "ready"


class Done(_Message):
    """The report is in the store."""

    kind: Literal["done"] = "done"
    artifact: Artifact
    row_count: int


class Failed(_Message):
    """There is no report, and why."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str
    transient: bool


Answer = Annotated[Ready | Done | Failed, Field(discriminator="kind")]
ANSWERS: Final[TypeAdapter[Ready | Done | Failed]] = TypeAdapter(Answer)


async def send(writer: asyncio.StreamWriter, message: BaseModel) -> None:
    """Write one frame."""
    body = message.model_dump_json().encode()
    writer.write(_LENGTH.pack(len(body)) + body)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> bytes:
    """Read one frame's body.

    Raises:
        asyncio.IncompleteReadError: where the other side is gone.

    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > _LONGEST_FRAME:
        raise ValueError(f"a frame of {length} bytes is no message of ours")
    return await reader.readexactly(length)
