"""What the gateway decides without I/O: what a job is to a client, and how listings are cut."""

from gateway.domain.access import Caller, Scope
from gateway.domain.byte_ranges import ByteRange, requested_range
from gateway.domain.conditions import Conditions, Precondition, Validators, lists_tag
from gateway.domain.errors import (
    ArtifactMissingError,
    ArtifactStoreUnavailableError,
    JobExpiredError,
    JobNotFoundError,
    LinkExpiredError,
    LinkForgedError,
    NotAuthenticatedError,
    NotPermittedError,
    PageTokenError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ReadModelUnavailableError,
    ReportNotReadyError,
    RequestRefusedError,
)
from gateway.domain.jobs import (
    Job,
    JobStatus,
    JobView,
    StoredArtifact,
    WebhookOutcome,
    poll_interval,
)
from gateway.domain.listing import (
    DEFAULT_PAGE_SIZE,
    LARGEST_PAGE,
    JobFilter,
    JobPage,
    clamp_page_size,
    read_page_token,
    write_page_token,
)
from gateway.domain.vector import Vector

__all__ = [
    "DEFAULT_PAGE_SIZE",
    "LARGEST_PAGE",
    "ArtifactMissingError",
    "ArtifactStoreUnavailableError",
    "ByteRange",
    "Caller",
    "Conditions",
    "Job",
    "JobExpiredError",
    "JobFilter",
    "JobNotFoundError",
    "JobPage",
    "JobStatus",
    "JobView",
    "LinkExpiredError",
    "LinkForgedError",
    "NotAuthenticatedError",
    "NotPermittedError",
    "PageTokenError",
    "Precondition",
    "PreconditionFailedError",
    "RangeNotSatisfiableError",
    "ReadModelUnavailableError",
    "ReportNotReadyError",
    "RequestRefusedError",
    "Scope",
    "StoredArtifact",
    "Validators",
    "Vector",
    "WebhookOutcome",
    "clamp_page_size",
    "lists_tag",
    "poll_interval",
    "read_page_token",
    "requested_range",
    "write_page_token",
]
