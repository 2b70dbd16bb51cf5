"""What `make demo` shows: one report per format, from POST to a verified webhook."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from local_stack.configuration import generated_keys
from local_stack.demo.client import ReportsClient, Submission
from local_stack.demo.receiver import WebhookReceiver, webhook_receiver
from local_stack.errors import SetupError
from local_stack.launch import RunningStack
from local_stack.paths import StackDirectory

_JOB_SECONDS: Final = 60.0
_WEBHOOK_SECONDS: Final = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Chapter:
    report_type: str
    format: str
    first_day: str
    last_day: str

    def request(self, callback_url: str) -> dict[str, Any]:
        return {
            "reportType": self.report_type,
            "dateRange": {"fromDate": self.first_day, "toDate": self.last_day},
            "format": self.format,
            "callbackUrl": callback_url,
        }


_CHAPTERS: Final = (
    _Chapter("ORDERS_DETAIL", "CSV", "2024-01-01", "2024-06-30"),
    _Chapter("ORDERS_DETAIL", "JSON", "2024-01-01", "2024-06-30"),
    _Chapter("ORDERS_SUMMARY", "PDF", "2024-01-01", "2024-12-31"),
    _Chapter("CUSTOMERS_EXPORT", "NDJSON", "2019-01-01", "2022-12-31"),
    # Asks the rates service, which is slow and sometimes refuses.
    _Chapter("SALES_ANALYTICS", "CSV", "2024-01-01", "2024-12-31"),
)


def run_demo(directory: StackDirectory, stack: RunningStack, say: Say) -> None:
    """Submit one report per format to a running stack that holds demo orders, and follow them.

    Raises:
        SetupError: at the first thing that isn't as it should be.

    """
    folder = directory.root / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    secret = _signing_secret(directory)
    with (
        webhook_receiver(secret) as receiver,
        closing(ReportsClient(stack.environment["GATEWAY_URL"])) as client,
    ):
        say(f"webhooks   are received on {receiver.url}")
        for chapter in _CHAPTERS:
            _tell(chapter, client, receiver, folder, say)
    say("")
    say(f"reports    {folder}")
    say(f"artifacts  {directory.artifacts}")
    say(f"logs       {directory.logs}")


def _tell(
    chapter: _Chapter, client: ReportsClient, receiver: WebhookReceiver, folder: Path, say: Say
) -> None:
    say("")
    say(f"POST /generate-report  {chapter.report_type} as {chapter.format}")
    submission = client.submit(chapter.request(receiver.url))
    say(f"  202 Accepted     Location: {submission.location}")
    job = _follow(submission, client, say)
    if job["status"] != "COMPLETED":
        raise SetupError(f"the job failed: {job['errorCode']}: {job['errorMessage']}")
    path, digest = client.download(job["downloadUrl"], folder)
    say(f"  downloaded       {path.name}, {path.stat().st_size:,} bytes, sha256 {digest[:16]}…")
    webhook = receiver.wait_for(submission.job["jobId"], _WEBHOOK_SECONDS)
    if webhook is None or webhook.body["downloadUrl"] != job["downloadUrl"]:
        raise SetupError("no verified webhook for this job arrived; the notifier's log says why")
    say(f"  webhook          {webhook.body['type']}, signature verified, {webhook.webhook_id}")


def _follow(submission: Submission, client: ReportsClient, say: Say) -> dict[str, Any]:
    created = datetime.fromisoformat(submission.job["createdAt"])

    def line(status: str, at: str, more: str = "") -> None:
        since = (datetime.fromisoformat(at) - created).total_seconds()
        say(f"  {status:<10} {since:6.3f} s{more}")

    line(submission.job["status"], submission.job["createdAt"])
    job, seen = submission.job, {submission.job["status"]}
    for job in client.follow(submission, _JOB_SECONDS):
        if job["status"] == "COMPLETED" and "RUNNING" not in seen:
            line("RUNNING", job["startedAt"], "  (between two polls)")
        more = f"  {job['rowCount']:,} rows" if job["status"] == "COMPLETED" else ""
        line(job["status"], job["finishedAt"] or job["startedAt"] or job["updatedAt"], more)
        seen.add(job["status"])
    return job


def _signing_secret(directory: StackDirectory) -> str:
    return generated_keys(directory)["NOTIFIER_SIGNING_SECRETS"].split(",")[0]
