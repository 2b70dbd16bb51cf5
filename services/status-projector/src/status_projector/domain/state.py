"""What a job's events add up to: a join, so that neither order nor repetition matters.

The state of a job is made of groups. Each group has a version, an order of its own in which later
events win, and the join of two states takes each group from the one with the higher version. Two
different groups never have one version unless a producer is broken; then the digest of their
content decides, so that the result still depends on nothing but the set of events. Taking a
maximum is commutative, associative and idempotent, and so is the join.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from operator import attrgetter
from typing import Final, Self

_DIGEST_BYTES: Final = 8


class Status(StrEnum):
    """Where a job stands, as the API says it."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class WebhookStatus(StrEnum):
    """What became of the webhook of the newest run that has one."""

    DELIVERED = "DELIVERED"
    EXHAUSTED = "EXHAUSTED"


class DescriptionRank(IntEnum):
    """How much an event says of what was asked for."""

    UNREADABLE = 0
    NAMED = 1
    WHOLE = 2


class ExecutionRank(IntEnum):
    """How far an event says that an attempt came."""

    REQUESTED = 0
    STARTED = 1
    ATTEMPT_ENDED = 2
    RUN_ENDED = 3


class WebhookRank(IntEnum):
    """A delivered webhook stays delivered."""

    EXHAUSTED = 0
    DELIVERED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Columns that are always taken together, from the event with the highest version."""

    version: tuple[int, ...]

    @property
    def digest(self) -> int:
        """A signed 64-bit hash of the content, the same in every process.

        Breaks the tie between groups of one version; equal groups have equal digests.
        """
        content = json.dumps(_VALUES[type(self)](self), default=_spelling, ensure_ascii=False)
        raw = hashlib.blake2b(content.encode(), digest_size=_DIGEST_BYTES)
        return int.from_bytes(raw.digest(), signed=True)

    def join(self, other: Self) -> Self:
        """Return the newer of two groups."""
        if self.version != other.version:
            return self if self.version > other.version else other
        # Nearly always a repeated event, whose digests needn't be computed.
        return self if self == other or self.digest > other.digest else other


@dataclass(frozen=True, slots=True, kw_only=True)
class Description(Group):
    """Whose job it is and what was asked for; `version` is the rank alone."""

    tenant: str
    report_type: str
    format: str
    created_at: datetime
    request: str | None
    """JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution(Group):
    """How far the newest attempt came, or how the run ended.

    `version` is (run, whether it has ended, attempt, rank, sequence).
    """

    status: Status
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    retryable: bool | None = None
    artifact_path: str | None = None
    file_name: str | None = None
    media_type: str | None = None
    byte_count: int | None = None
    sha256: str | None = None
    row_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(Group):
    """What became of the webhook; `version` is (run, rank, attempts)."""

    status: WebhookStatus
    attempts: int
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """All that the folded events say of one job."""

    job_id: str
    description: Description
    execution: Execution
    webhook: Webhook | None = None

    def join(self, other: Self) -> Self:
        """Return what both states together say; they must be of one job."""
        if self.job_id != other.job_id:
            raise ValueError(f"states of two jobs can't be joined: {self.job_id}, {other.job_id}")
        return replace(
            self,
            description=self.description.join(other.description),
            execution=self.execution.join(other.execution),
            webhook=_join_optional(self.webhook, other.webhook),
        )


def _join_optional(one: Webhook | None, other: Webhook | None) -> Webhook | None:
    if one is None or other is None:
        return one or other
    return one.join(other)


def _spelling(moment: datetime) -> str:
    """Return what equal moments have in common, whatever their zones."""
    return moment.astimezone(UTC).isoformat()


_VALUES: Final[dict[type[Group], Callable[[Group], tuple[object, ...]]]] = {
    group: attrgetter(*(field.name for field in fields(group)))
    for group in (Description, Execution, Webhook)
}
