"""An S3 server of the test's own, for what a store does; real ones differ in how well."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import boto3
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BUCKET: Final = "artifacts"
SECRET: Final = "wJalrXUtnFEMI-s3cret"


class PartsGate:
    """Keeps uploads from going on behind their first part, while it is closed."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._is_open.set()
        self.waiting = 0
        """Parts that have come to the gate so far."""

    def close(self) -> None:
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    def before(self, serve: "WSGIApplication") -> "WSGIApplication":
        """Put the gate before a server's application."""

        def gated(environ: "WSGIEnvironment", respond: "StartResponse") -> Iterable[bytes]:
            number = parse_qs(environ["QUERY_STRING"]).get("partNumber", ["1"])
            if number != ["1"]:
                self.waiting += not self._is_open.is_set()
                self._is_open.wait()
            return serve(environ, respond)

        return gated


@dataclass(frozen=True, slots=True)
class S3:
    """A bucket on a server, and a client to look into it."""

    endpoint: str
    client: Any
    parts: PartsGate = field(default_factory=PartsGate)

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/reports"

    @property
    def environment(self) -> dict[str, str]:
        """What a service has to be told beside the URL."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def names(self) -> list[str]:
        """The names of all objects, without the prefix."""
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [one["Key"].removeprefix("reports/") for one in listed]

    def uploads(self) -> list[Any]:
        """Multipart uploads that were neither completed nor aborted."""
        found: list[Any] = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return found

    def clear(self) -> None:
        """Delete all objects, and abort all uploads."""
        for name in self.names():
            self.client.delete_object(Bucket=BUCKET, Key=f"reports/{name}")
        for upload in self.uploads():
            self.client.abort_multipart_upload(
                Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]
            )


@contextmanager
def run_s3() -> Iterator[S3]:
    """Run a server with an empty bucket while the body runs."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    parts = PartsGate()
    try:
        assert server._server is not None
        server._server.app = parts.before(server._server.app)
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="test",
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)
        s3 = S3(endpoint, client, parts)
        s3.clear()  # all servers of a process have one memory
        yield s3
        client.close()
    finally:
        parts.open()
        server.stop()
