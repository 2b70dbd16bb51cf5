"""What clients can do: submit a request, follow its job, fetch its report."""

from gateway.service.access import Access, OpenAccess
from gateway.service.downloads import Download, Downloads
from gateway.service.idempotency import KeyedSubmissions
from gateway.service.jobs import Jobs
from gateway.service.submissions import Submissions

__all__ = ["Access", "Download", "Downloads", "Jobs", "OpenAccess", "Submissions"]
__all__ = ["Download", "Downloads", "Jobs", "KeyedSubmissions", "Submissions"]
