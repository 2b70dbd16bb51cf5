"""What clients can do: submit a request, follow its job, fetch its report."""

from gateway.service.access import Access, CredentialAccess, OpenAccess
from gateway.service.access_tokens import AccessTokens, TokenRules
from gateway.service.actions import Actions
from gateway.service.active_jobs import ActiveJobs
from gateway.service.api_keys import ApiKeys
from gateway.service.bounded_publisher import BoundedPublisher
from gateway.service.downloads import Download, Downloads
from gateway.service.idempotency import KeyedSubmissions
from gateway.service.issuer_keys import IssuerKeys
from gateway.service.jobs import Jobs
from gateway.service.key_administration import KeyAdministration
from gateway.service.rate_limits import RateLimit, RateLimits
from gateway.service.submissions import Submissions

__all__ = [
    "Access",
    "AccessTokens",
    "Actions",
    "ActiveJobs",
    "ApiKeys",
    "BoundedPublisher",
    "CredentialAccess",
    "Download",
    "Downloads",
    "IssuerKeys",
    "Jobs",
    "KeyAdministration",
    "KeyedSubmissions",
    "OpenAccess",
    "RateLimit",
    "RateLimits",
    "Submissions",
    "TokenRules",
]
