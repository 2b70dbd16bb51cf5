"""The reports API as the demo's client uses it: submit, follow, download."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from local_stack.errors import SetupError

_POLL_SECONDS: Final = 0.01
_ENDED: Final = frozenset({"COMPLETED", "FAILED"})


@dataclass(frozen=True, slots=True)
class Submission:
    """An accepted job."""

    location: str
    job: dict[str, Any]


class ReportsClient:
    """Talks to one gateway; every call has a time limit."""

    def __init__(self, gateway_url: str) -> None:
        self._http = httpx.Client(base_url=gateway_url, timeout=15)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, request: dict[str, Any]) -> Submission:
        """Ask for a report.

        Raises:
            SetupError: where the answer isn't 202.

        """
        response = self._http.post("/generate-report", json=request)
        if response.status_code != httpx.codes.ACCEPTED:
            raise SetupError(f"POST /generate-report: {response.status_code} {response.text}")
        return Submission(response.headers["location"], response.json())

    def follow(self, submission: Submission, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the job at each change of its status, until it has ended.

        Raises:
            SetupError: where it doesn't end in time.

        """
        status = submission.job["status"]
        deadline = time.monotonic() + seconds
        while status not in _ENDED:
            if time.monotonic() > deadline:
                raise SetupError(f"{submission.location} is still {status} after {seconds:g} s")
            time.sleep(_POLL_SECONDS)
            response = self._http.get(submission.location)
            response.raise_for_status()
            job = response.json()
            if job["status"] != status:
                status = job["status"]
                yield job

    def download(self, url: str, folder: Path) -> tuple[Path, str]:
        """Save the report under the name that the server gives; return path and SHA-256."""
        digest = hashlib.sha256()
        with self._http.stream("GET", url) as response:
            response.raise_for_status()
            disposition = response.headers["content-disposition"]
            name = disposition.partition('filename="')[2].partition('"')[0]
            path = folder / Path(name).name
            with path.open("wb") as file:
                for chunk in response.iter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
        return path, digest.hexdigest()
