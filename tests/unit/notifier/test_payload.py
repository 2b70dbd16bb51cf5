"""What a receiver is sent."""

import json

import pytest

from notifier.payload import TerminalEvent, body_bytes
from shared.links import LinkVerdict
from tests.unit.notifier.samples import LINKS, RETENTION, completed, failed

LARGEST_BODY = 20_000


def test_completed_job_as_the_receiver_sees_it() -> None:
    event = completed("https://x.com/")
    body = json.loads(body_bytes(event, LINKS, RETENTION))
    link = body.pop("downloadUrl")
    assert body == {
        "type": "report-job.completed",
        "jobId": event.job_id,
        "status": "COMPLETED",
        "errorCode": None,
        "errorMessage": None,
        "reportType": "ORDERS_SUMMARY",
        "format": "CSV",
        "run": 1,
        "createdAt": "2026-03-01T12:00:00Z",
        "startedAt": "2026-03-01T12:00:00Z",
        "finishedAt": "2026-03-01T12:00:03Z",
        "expiresAt": "2026-03-08T12:00:00Z",
    }
    query = dict(part.split("=", 1) for part in link.partition("?")[2].split("&"))
    assert link.startswith(f"https://reports.example.com/report-jobs/{event.job_id}/download?")
    assert LINKS.check(event.job_id, query["exp"], query["sig"]) is LinkVerdict.VALID


def test_failed_job_says_why_and_has_no_link() -> None:
    body = json.loads(body_bytes(failed("https://x.com/"), LINKS, RETENTION))
    assert (body["type"], body["status"]) == ("report-job.failed", "FAILED")
    assert body["errorCode"] == "REPORT_GENERATION_FAILED"
    assert body["errorMessage"] == "The data source is down."
    assert body["downloadUrl"] is None


def test_same_event_gives_the_same_bytes() -> None:
    event = completed("https://x.com/")
    assert body_bytes(event, LINKS, RETENTION) == body_bytes(event, LINKS, RETENTION)


@pytest.mark.parametrize(
    "event", [failed(None, "x" * 1_000_000), failed(None, "\U0001f600" * 5000), completed(None)]
)
def test_body_is_thin(event: TerminalEvent) -> None:
    assert len(body_bytes(event, LINKS, RETENTION)) < LARGEST_BODY


def test_id_that_we_never_gave_out_expires_by_the_event() -> None:
    event = completed(None).model_copy(update={"job_id": "job_" + "v" * 40})
    body = json.loads(body_bytes(event, LINKS, RETENTION))
    assert body["expiresAt"] == "2026-03-08T12:00:00Z"
