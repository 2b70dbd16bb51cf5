"""Why the gateway can't do what a client asked; `routes.problems` says it in HTTP."""

from collections.abc import Mapping, Sequence

from gateway.domain.access import Scope
from shared.report_request import Violation


class RequestRefusedError(Exception):
    """The request is well-formed JSON but can't become a job."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__(f"{len(violations)} violations")
        self.violations = tuple(violations)


class NotAuthenticatedError(Exception):
    """The request carries no credential, or none that is worth anything. The message is public."""


class AccessUnavailableError(Exception):
    """The credential can't be checked at the moment; a later try may succeed."""


class IssuerUnavailableError(Exception):
    """The OpenID provider didn't answer, or with what makes no sense."""


class NotPermittedError(Exception):
    """The caller is known but lacks the scope that the operation needs."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"lacks the scope {scope}")
        self.scope = scope


class IdempotencyKeyReusedError(Exception):
    """The key stands for another request of this tenant."""


class TooManyRequestsError(Exception):
    """The tenant asks more often than it may. `fields` are header fields that say more."""

    def __init__(self, retry_after: int, fields: Mapping[str, str]) -> None:
        super().__init__(f"try again in {retry_after} s")
        self.retry_after = retry_after
        self.fields = fields


class TooManyActiveJobsError(Exception):
    """The tenant has as many jobs under way as it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} jobs are under way")
        self.limit = limit


class OverloadedError(Exception):
    """More is under way than this process can take; nothing was published."""


class PageTokenError(Exception):
    """The page token wasn't made by us, or not for this listing."""


class JobNotFoundError(Exception):
    """There is no such job for this tenant, and never was."""


class JobExpiredError(Exception):
    """The job is older than the retention time: it and its report are gone."""


class JobDeletedError(Exception):
    """A client had the job deleted: it and its report are gone."""


class JobEndedError(Exception):
    """There is nothing left to cancel. The message is public."""


class JobNotEndedError(Exception):
    """A job that may still run can't be deleted. The message is public."""


class JobNotRetryableError(Exception):
    """The job can't be run again, for now or for good. The message is public."""


class LinkForgedError(Exception):
    """The download link wasn't made by us, or was changed."""


class LinkExpiredError(Exception):
    """The download link was ours but its time is over."""


class ReportNotReadyError(Exception):
    """The job exists but has no report, for now or for good."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class ArtifactMissingError(Exception):
    """The job is completed but the store doesn't hold its file."""


class PreconditionFailedError(Exception):
    """What the request is about isn't, or isn't any more, as its conditions say."""


class RangeNotSatisfiableError(Exception):
    """The file has none of the bytes that are asked for."""

    def __init__(self, byte_count: int) -> None:
        super().__init__(byte_count)
        self.byte_count = byte_count


class ReadModelUnavailableError(Exception):
    """The read model didn't answer in time; a later try may succeed."""


class KeysUnavailableError(Exception):
    """The idempotency keys can't be read or written; a later try may succeed."""


class ArtifactStoreUnavailableError(Exception):
    """The artifact store didn't answer in time; a later try may succeed."""


class TooManyWatchersError(Exception):
    """As many clients as we have room for wait for changes already."""


class WatchEndedError(Exception):
    """There is nothing more to wait for: the client left, or the gateway stops."""
