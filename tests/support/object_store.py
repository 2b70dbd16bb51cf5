"""An S3 server of the test's own, for what a store does; real ones differ in how well."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import boto3
from moto.server import ThreadedMotoServer

BUCKET: Final = "artifacts"
SECRET: Final = "wJalrXUtnFEMI-s3cret"


@dataclass(frozen=True, slots=True)
class S3:
    """A bucket on a server, and a client to look into it."""

    endpoint: str
    client: Any

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


@contextmanager
def run_s3() -> Iterator[S3]:
    """Run a server with an empty bucket while the body runs."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
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
        yield S3(endpoint, client)
        client.close()
    finally:
        server.stop()
