"""What a job's events add up to: a join, so that neither order nor repetition matters.

The state of a job is made of groups. Each group has a version, an order of its own in which later
events win, and the join of two states takes each group from the one with the higher version. Two
different groups never have one version unless a producer is broken; then the digest of their
content decides, so that the result still depends on nothing but the set of events. Taking a
maximum is commutative, associative and idempotent, and so is the join. The history is the union of
what happened, and a deletion takes everything else with it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from operator import attrgetter
from typing import Final, NamedTuple, Self

from pydantic_core import to_json

_DIGEST_BYTES: Final = 8


class Status(StrEnum):
    """Where a job stands, as the API says it."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class WebhookStatus(StrEnum):
    """What became of the webhook of the newest run that has one; PENDING from the run's end."""

    PENDING = "PENDING"
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
    PROGRESSED = 2
    ATTEMPT_ENDED = 3
    RUN_ENDED = 4


class WebhookRank(IntEnum):
    """A delivered webhook stays delivered; one that has yet to be says the least."""

    PENDING = -1
    EXHAUSTED = 0
    DELIVERED = 1


class Vector(NamedTuple):
    """How far a job's events were folded: in each topic the offset after the newest of them."""

    requests: int
    events: int

    def join(self, other: Self) -> Self:
        """Return the higher offset of each topic."""
        return type(self)(max(self.requests, other.requests), max(self.events, other.events))


NOWHERE: Final = Vector(0, 0)
"""The vector of what was read from no log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Columns that are always taken together, from the event with the highest version."""

    version: tuple[int, ...]

    @property
    def digest(self) -> int:
        """A signed 64-bit hash of the content, the same in every process.

        Breaks the tie between groups of one version. Equal groups have equal digests: events
        hold their moments in UTC.
        """
        raw = hashlib.blake2b(to_json(_VALUES[type(self)](self)), digest_size=_DIGEST_BYTES)
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
    progress_phase: str | None = None
    progress_percent: int | None = None
    rows_processed: int | None = None
    rows_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(Group):
    """What became of the webhook; `version` is (run, rank, attempts)."""

    status: WebhookStatus
    attempts: int
    updated_at: datetime


class Cancellation(NamedTuple):
    """A request to cancel, its own version: the last one of the highest run counts."""

    run: int
    """The run that the client saw; it concerns no other."""
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """All that the folded events say of one job."""

    job_id: str
    description: Description
    execution: Execution
    cancellation: Cancellation | None = None
    webhook: Webhook | None = None
    history: Mapping[str, str]
    """What happened, as facts in JSON by keys that are hashes of them."""
    vector: Vector

    def join(self, other: "AnyState") -> "AnyState":
        """Return what both states together say; they must be of one job."""
        _require_one_job(self, other)
        if isinstance(other, Tombstone):
            return other.join(self)
        return JobState(
            job_id=self.job_id,
            description=self.description.join(other.description),
            execution=self.execution.join(other.execution),
            cancellation=_later(self.cancellation, other.cancellation),
            webhook=_join_optional(self.webhook, other.webhook),
            history={**self.history, **other.history},
            vector=self.vector.join(other.vector),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """All that is left of a deleted job, whatever else is said of it before or after."""

    job_id: str
    tenant: str
    deleted_at: datetime
    vector: Vector

    def join(self, other: "AnyState") -> "AnyState":
        """Return the first deletion of two; they must be of one job."""
        _require_one_job(self, other)
        first: Tombstone = self
        if isinstance(other, Tombstone):
            first = min(self, other, key=lambda deletion: (deletion.deleted_at, deletion.tenant))
        return replace(first, vector=self.vector.join(other.vector))


AnyState = JobState | Tombstone
"""What is known of one job."""


def _require_one_job(one: AnyState, other: AnyState) -> None:
    if one.job_id != other.job_id:
        raise ValueError(f"states of two jobs can't be joined: {one.job_id}, {other.job_id}")


def _later(one: Cancellation | None, other: Cancellation | None) -> Cancellation | None:
    if one is None or other is None:
        return one or other
    return max(one, other)


def _join_optional(one: Webhook | None, other: Webhook | None) -> Webhook | None:
    if one is None or other is None:
        return one or other
    return one.join(other)


_VALUES: Final[dict[type[Group], Callable[[Group], tuple[object, ...]]]] = {
    group: attrgetter(*(field.name for field in fields(group)))
    for group in (Description, Execution, Webhook)
}
