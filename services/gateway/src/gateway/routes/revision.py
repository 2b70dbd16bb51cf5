"""The entity tag of a job's JSON: how far the job is known, and what else the JSON depends on."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.domain import Job
from gateway.routes.contract import ReportJobDetails
from shared.job_id import earliest
from shared.links import DownloadLinks

_MOMENT: Final = datetime(2024, 1, 1, tzinfo=UTC)
_DIGITS: Final = 6


def revision_of(links: DownloadLinks, retention: timedelta) -> str:
    """Return a short text that changes with the address or key of links, retention, or fields.

    So a representation that a client kept from before such a change is not taken for current.
    """
    link = links.url(earliest(_MOMENT), _MOMENT + retention)
    fields = json.dumps(ReportJobDetails.model_json_schema(), sort_keys=True)
    return hashlib.sha256(f"{link}\n{fields}".encode()).hexdigest()[:_DIGITS]


def entity_tag(job: Job, revision: str) -> str:
    """Return the tag of a job's present state, without its quotes."""
    return f"{job.vector}-{revision}"
