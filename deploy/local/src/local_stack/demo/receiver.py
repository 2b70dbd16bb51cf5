"""A webhook receiver as a client would run it: verifies the signature, then answers 204."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from local_stack.ports import LOOPBACK

_LONGEST_BODY: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """A webhook whose signature was verified."""

    webhook_id: str
    body: dict[str, Any]


class WebhookReceiver:
    """Keeps verified webhooks by job id. A webhook that comes again replaces its equal."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._by_job: dict[str, ReceivedWebhook] = {}
        self._arrival = threading.Condition()

    def add(self, webhook: ReceivedWebhook) -> None:
        """Keep a webhook."""
        with self._arrival:
            self._by_job[str(webhook.body.get("jobId"))] = webhook
            self._arrival.notify_all()

    def wait_for(self, job_id: str, seconds: float) -> ReceivedWebhook | None:
        """Return the webhook of a job; None if it doesn't arrive in time."""
        with self._arrival:
            self._arrival.wait_for(lambda: job_id in self._by_job, seconds)
            return self._by_job.get(job_id)


@contextmanager
def webhook_receiver(secret: str) -> Iterator[WebhookReceiver]:
    """Run a receiver on a free loopback port while the body runs."""
    verifier = Webhook(secret)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            if not 0 < length <= _LONGEST_BODY:
                self._answer(413)
                return
            body = self.rfile.read(length)
            try:
                verifier.verify(body, dict(self.headers.items()))
            except WebhookVerificationError:
                self._answer(401)
                return
            receiver.add(ReceivedWebhook(self.headers["webhook-id"], json.loads(body)))
            self._answer(204)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing: the story tells what arrived."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    receiver = WebhookReceiver(f"http://{LOOPBACK}:{server.server_port}/hooks/report-completed")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
