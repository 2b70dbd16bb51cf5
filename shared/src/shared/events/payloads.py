"""The job events: what each one says. Contracts: tolerant when read, never changed in meaning.

A field may be added with a default; a changed meaning is a new version of the event. What a
client asked for is carried openly (`RequestedReport`): the services that need it strict validate
it as a `shared.report_request.ReportRequest` and decide what a misfit means.

Numbers, moments and identifiers are bounded by what PostgreSQL can hold and index, so that what
was read can also be stored, and a bad record never stops a stream.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

UNKNOWN = "UNKNOWN"
"""Report type and format of a request whose body can't be read."""

_LARGEST_INT: Final = 2**31 - 1
_LARGEST_BIGINT: Final = 2**63 - 1

Count = Annotated[int, Field(ge=0, le=_LARGEST_BIGINT)]
Sequence = Annotated[int, Field(ge=0, le=_LARGEST_INT)]
Run = Annotated[
    int,
    Field(ge=1, le=_LARGEST_INT, description="1 for the first run; one more for each retry."),
]
Attempt = Annotated[
    int,
    Field(
        ge=0,
        le=_LARGEST_INT,
        description="Counted by the worker over the job's life; 0: never attempted.",
    ),
]


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC)),
    AfterValidator(_in_utc),  # equal moments are one value, whatever zone a producer wrote
]


class Payload(BaseModel):
    """camelCase in JSON, snake_case in Python; unknown fields are ignored."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class RequestedDateRange(Payload):
    """The period asked for, as the client wrote it."""

    from_date: str
    to_date: str


class RequestedReport(Payload):
    """The request as it was accepted; fields of a later version are kept."""

    model_config = ConfigDict(extra="allow")

    report_type: str
    date_range: RequestedDateRange
    format: str
    callback_url: str | None = Field(
        default=None, description="Visible to every subscriber; holds no credentials."
    )
    parameters: dict[str, Any] = Field(default_factory=dict)


class JobEvent(Payload):
    """What every event says of its job, so that no subscriber needs to join streams."""

    job_id: str = Field(pattern=r"^job_[0-9a-v]{40}$")
    tenant: str = Field(min_length=1, max_length=255)
    created_at: Moment = Field(description="When the gateway accepted the job.")
    report_type: str
    format: str
    run: Run


class ReportRequested(JobEvent):
    """A client asked for a report, and the gateway accepted the job."""

    request: RequestedReport


class RetryRequested(JobEvent):
    """A client asked for a job that had FAILED to be run again; `run` is the run that begins."""

    request: RequestedReport
    requested_at: Moment


class CancelRequested(JobEvent):
    """A client asked for a job to be stopped; `run` is the run that it saw, and no other ends."""

    requested_at: Moment


class DeleteRequested(JobEvent):
    """A client asked for a job and its report to be removed for good."""

    requested_at: Moment


class ExecutionEvent(JobEvent):
    """Something happened to the execution of a run; `sequence` orders equals of one attempt."""

    attempt: Attempt
    sequence: Sequence = 0


class JobStarted(ExecutionEvent):
    """A worker began an attempt."""

    started_at: Moment
    worker: str


class Progress(Payload):
    """How far an attempt has come; what isn't known is null."""

    phase: str = Field(
        min_length=1, max_length=50, description="What is being done, such as query or upload."
    )
    percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None, description="Never goes back within an attempt."
    )
    rows_processed: Count | None = None
    rows_total: Count | None = Field(default=None, description="May be an estimate.")


class JobProgressed(ExecutionEvent):
    """An attempt has come further; at most one a second per job, `sequence` from 1."""

    started_at: Moment
    progressed_at: Moment
    worker: str
    progress: Progress


class AttemptOutcome(StrEnum):
    """Why an attempt ended while its run goes on."""

    FAILED = "FAILED"
    LOST = "LOST"
    RELEASED = "RELEASED"


class JobAttemptEnded(ExecutionEvent):
    """An attempt ended without ending its run: it failed for a passing reason, its worker was
    lost, or a draining worker released it.
    """  # noqa: D205 - one sentence, two lines

    outcome: str = Field(description="One of FAILED, LOST, RELEASED; later versions may add.")
    started_at: Moment
    ended_at: Moment
    retry_at: Moment = Field(description="The run is not attempted again before this.")
    error_code: str | None = None
    error_message: str | None = None


class Artifact(Payload):
    """A finished report file in the artifact store."""

    path: str = Field(description="Object path below the store's root.")
    file_name: str
    media_type: str
    byte_count: Count
    sha256: str = Field(description="Hex digest of the file's bytes.")


class RunEnded(ExecutionEvent):
    """The end of a run: exactly one JobCompleted or JobFailed per run."""

    started_at: Moment | None = Field(
        default=None,
        description="Start of the attempt that ended the run; null where none was going on.",
    )
    finished_at: Moment


class JobCompleted(RunEnded):
    """The report is there."""

    request: RequestedReport
    artifact: Artifact
    row_count: Count
    duration_ms: Count | None = Field(
        default=None, description="Time that the attempt took, as its worker measured it."
    )


class JobFailed(RunEnded):
    """The run ended without a report."""

    request: RequestedReport | None = Field(
        default=None, description="Null only where the request itself could not be read."
    )
    error_code: str = Field(pattern=r"^[A-Z][A-Z0-9_]+$")
    error_message: str = Field(description="For people; no internals.")
    retryable: bool = Field(description="Whether the same request may well succeed later.")


class WebhookEvent(JobEvent):
    """What became of the webhook of a run's end."""

    webhook_id: str
    attempts: Annotated[int, Field(ge=1, le=_LARGEST_INT)]


class WebhookDelivered(WebhookEvent):
    """The callback URL answered 2xx."""

    delivered_at: Moment
    status_code: int


class WebhookExhausted(WebhookEvent):
    """The callback URL was given up on."""

    exhausted_at: Moment
    reason: str = Field(description="Class of the last failure, such as timeout or status_500.")


AnyJobEvent = (
    ReportRequested
    | RetryRequested
    | CancelRequested
    | DeleteRequested
    | JobStarted
    | JobProgressed
    | JobAttemptEnded
    | JobCompleted
    | JobFailed
    | WebhookDelivered
    | WebhookExhausted
)
"""Every event there is, for a `match` that forgets none."""
