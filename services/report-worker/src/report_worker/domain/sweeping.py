"""Which files of the artifact store nobody can ever ask for: pure decisions about what lies there.

A file is somebody's until the opposite is certain. Where this database may have forgotten what
happened (it was put back to an earlier copy, docs/adr/0006-the-end-of-a-run-has-one-id.md), the
read model may refer to what looks like nobody's, and the file stays until its job expires.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shared.job_id import JobId, created_at, earliest, is_well_formed

_PATH: Final = re.compile(
    r"(?P<job>job_[^/]+)/(?P<run>\d+)/(?P<attempt>\d+)-(?P<token>[0-9a-f]{32})/[^/]+", re.ASCII
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of one attempt: its artifact, or what an upload that was cut off has left."""

    path: str
    modified_at: datetime
    job_id: JobId
    run: int
    attempt: int
    token: UUID


@dataclass(frozen=True, slots=True)
class KnownRun:
    """What the database knows of a run; `attempt` is its last one."""

    job_id: JobId
    run: int
    attempt: int
    token: UUID | None
    """Of the attempt that is going on."""
    is_ended: bool
    is_deleted: bool
    has_artifact: bool
    """Whether the last attempt made the report."""


@dataclass(frozen=True, slots=True)
class SweepRules:
    """What doesn't depend on the file; `now` is the database's clock."""

    now: datetime
    retention: timedelta
    grace: timedelta
    """How long after its last change a file may still be written to."""
    remembers_from: datetime
    """Of runs of older jobs it isn't known which attempt made the report."""

    @property
    def expired_before(self) -> JobId:
        """A bound below which every job has expired."""
        return earliest(self.now - self.retention)


def stored_file(path: str, modified_at: datetime) -> StoredFile | None:
    """Read a path as attempts write them; None for a file of somebody else."""
    found = _PATH.fullmatch(path)
    if found is None or not is_well_formed(found["job"]):
        return None
    return StoredFile(
        path=path,
        modified_at=modified_at,
        job_id=JobId(found["job"]),
        run=int(found["run"]),
        attempt=int(found["attempt"]),
        token=UUID(found["token"]),
    )


def is_surplus(file: StoredFile, runs: Sequence[KnownRun], rules: SweepRules) -> bool:
    """Tell whether a file can go; `runs` are all those known of its job."""
    if any(run.token == file.token for run in runs):
        return False
    if file.job_id < rules.expired_before or any(run.is_deleted for run in runs):
        return True
    run = next((one for one in runs if one.run == file.run), None)
    if run is None or not run.is_ended or created_at(file.job_id) < rules.remembers_from:
        return False
    last_of_use = run.attempt - 1 if run.has_artifact else run.attempt
    return file.attempt <= last_of_use and file.modified_at < rules.now - rules.grace
