"""What the gateway decides without I/O: what a job is to a client, and how listings are cut."""

from gateway.domain.access import Caller, Scope
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

__all__ = [
    "DEFAULT_PAGE_SIZE",
    "LARGEST_PAGE",
    "ArtifactMissingError",
    "ArtifactStoreUnavailableError",
    "Caller",
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
    "ReadModelUnavailableError",
    "ReportNotReadyError",
    "RequestRefusedError",
    "Scope",
    "StoredArtifact",
    "WebhookOutcome",
    "clamp_page_size",
    "poll_interval",
    "read_page_token",
    "write_page_token",
]
