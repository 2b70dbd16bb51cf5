"""What the system tests do again and again: bring a job to its end, and look at what came of it."""

from typing import Any, Final

import httpx

from local_stack.polling import poll_until
from shared.events import JobStarted
from shared.topics import Topic
from tests.support.client import Job, JobWebhook
from tests.system.catalogue import request
from tests.system.installation import Installation
from tests.system.log import read_events

SECONDS: Final = 60.0
"""How long a condition may take on a busy machine; usually it is a fraction of a second."""


async def complete(installation: Installation, report_type: str, **fields: Any) -> Job:
    """Submit and follow to COMPLETED."""
    return await _follow(installation, "COMPLETED", report_type, fields)


async def fail(installation: Installation, report_type: str, **fields: Any) -> Job:
    """Submit and follow to FAILED."""
    return await _follow(installation, "FAILED", report_type, fields)


async def _follow(
    installation: Installation, status: str, report_type: str, fields: dict[str, Any]
) -> Job:
    accepted = await installation.client.submit(request(report_type, **fields))
    assert accepted.status == "PENDING"
    job = await installation.client.wait_until_status(accepted.job_id)
    assert job.status == status, job
    return job


async def wait_for_webhook(installation: Installation, job: Job) -> JobWebhook:
    """Return what became of a job's webhook once the API tells of its end."""
    known: list[JobWebhook] = []

    async def is_known() -> bool:
        webhook = (await installation.client.get(job.job_id)).webhook
        known.extend([webhook] if webhook and webhook.status != "PENDING" else [])
        return bool(known)

    await poll_until(is_known, seconds=SECONDS)
    return known[0]


async def attempts_of(installation: Installation, job: Job) -> int:
    """Count a job's attempts on the log."""
    events = await read_events(installation.stack, Topic.EVENTS)
    started = (received.event for received in events if isinstance(received.event, JobStarted))
    return len({event.attempt for event in started if event.job_id == job.job_id})


def assert_problem(response: httpx.Response, status: int, slug: str) -> None:
    """The answer is a problem document of this type."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"urn:report-jobs:problem:{slug}"
    assert problem["status"] == status


def assert_is_for_people(message: str | None) -> None:
    """An error message holds no trace, query, address or credential."""
    assert message
    for leak in ("Traceback", "Error(", "SELECT", "shop.", "postgres", "127.0.0.1", "secret"):
        assert leak not in message
