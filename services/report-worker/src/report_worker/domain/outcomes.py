"""What an attempt can come to, and the error codes that clients see."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.events import Artifact

CANCELLED: Final = "CANCELLED"
EXPIRED: Final = "EXPIRED"
GENERATION_FAILED: Final = "REPORT_GENERATION_FAILED"
REQUEST_REJECTED: Final = "REQUEST_REJECTED"
TIMED_OUT: Final = "TIMED_OUT"


class LossReason(StrEnum):
    """Why an attempt was lost, as the error code of a run that is lost too often."""

    CRASHED = "CRASHED"
    """The process that ran it ended: the child, or the worker with all its children."""
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    """The child was ended for the memory that it took."""


@dataclass(frozen=True, slots=True)
class Generated:
    """An attempt made its report."""

    artifact: Artifact
    row_count: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt made no report, and why: `message` is for people and holds no internals."""

    code: str
    message: str
    transient: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The child process ended under the attempt."""

    reason: LossReason = LossReason.CRASHED


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The attempt was stopped because its client asked for it."""


@dataclass(frozen=True, slots=True)
class Released:
    """The attempt was given back by its worker, which stops or has no child: nobody's failure."""


Outcome = Generated | Failure | Lost | Released
"""What executing an attempt comes to by itself."""

UNREADABLE: Final = Failure(
    code=REQUEST_REJECTED, message="The request could not be read.", transient=False
)
INTERNAL_ERROR: Final = Failure(
    code=GENERATION_FAILED,
    message="The report could not be generated because of an internal error.",
    transient=True,
)
CANCELLATION: Final = Failure(code=CANCELLED, message="The job was cancelled.", transient=True)
EXPIRY: Final = Failure(
    code=EXPIRED,
    message="The report could not be started within the time that its type may wait.",
    transient=True,
)
