"""What parent and child say to each other: one JSON object in each frame."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shared.catalogue import ReportType
from shared.events import Artifact, Progress
from shared.report_request import ReportRequest


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Setup(_Message):
    """First frame to a child: all that it needs, so that no secret stands in its environment."""

    kind: Literal["setup"] = "setup"
    catalogue: tuple[ReportType, ...]
    sources: Annotated[dict[str, str], Field(repr=False)]
    artifacts_url: str
    log_level: str
    memory_limit: int
    """Bytes that the child may use."""


class Assignment(_Message):
    """One attempt to execute; the file goes into `folder` of the artifact store."""

    kind: Literal["assignment"] = "assignment"
    job_id: str
    run: int
    attempt: int
    folder: str
    request: ReportRequest
    started_at: datetime
    max_duration: float
    """Seconds after which the parent stops it."""


class Cancel(_Message):
    """Stop the assignment before this frame, and undo it where it is done already.

    The answer is always `Stopped`, after which nothing of the assignment is left.
    """

    kind: Literal["cancel"] = "cancel"


class Ready(_Message):
    """A child can take assignments."""

    kind: Literal["ready"] = "ready"


class Progressed(_Message):
    """How far the report has come; about twice a second where it changes."""

    kind: Literal["progressed"] = "progressed"
    progress: Progress


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


class OutOfMemory(_Message):
    """There is no report for want of memory, and the child is in no state to make another."""

    kind: Literal["out_of_memory"] = "out_of_memory"


class Stopped(_Message):
    """Nothing runs any more, and nothing of the cancelled assignment is left."""

    kind: Literal["stopped"] = "stopped"


Order = Setup | Assignment | Cancel
Reply = Ready | Progressed | Done | Failed | OutOfMemory | Stopped

ORDERS: Final[TypeAdapter[Order]] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])
REPLIES: Final[TypeAdapter[Reply]] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])
