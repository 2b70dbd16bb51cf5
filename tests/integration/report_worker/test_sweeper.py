"""Sweeping a real folder and a real bucket, by what a real database says of the runs."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from report_worker import domain
from report_worker.domain import Attempt, Deletion, Failure, Lost, NewRun, Outcome
from report_worker.metrics import WorkerMetrics
from report_worker.service import Sweeper, SweepTimes
from report_worker.service import sweeper as sweeping
from report_worker.store import artifacts
from report_worker.store.artifacts import Artifacts, Folder, Listed, open_artifacts
from shared.clock import utc_now
from shared.job_id import JobId, earliest
from tests.integration.report_worker.queue_bench import QueueBench
from tests.support.object_store import BUCKET, S3, run_s3
from tests.support.report_runs import GENERATED, new_run

RETENTION = timedelta(days=7)
TRANSIENT = Failure("REPORT_GENERATION_FAILED", "Not now.", transient=True)
PERMANENT = Failure("REPORT_GENERATION_FAILED", "Never.", transient=False)
WEEK_AGO = 8 * 24 * 3600


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3]:
    with run_s3() as server:
        yield server


class FolderShelf:
    """A folder; its files are from long ago."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.artifacts: Artifacts = Folder(root)

    def put(self, path: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
        os.utime(file, (1, 1))

    def names(self) -> set[str]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)) for path in files}

    def folders(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_dir()]


class BucketShelf:
    """A bucket; a grace of nothing makes its files old at once."""

    def __init__(self, s3: S3) -> None:
        self._s3 = s3
        self.artifacts = open_artifacts(s3.url)

    def put(self, path: str) -> None:
        self._s3.client.put_object(Bucket=BUCKET, Key=f"reports/{path}", Body=b"1")

    def names(self) -> set[str]:
        return set(self._s3.names())


Shelf = FolderShelf | BucketShelf


@pytest.fixture(params=["folder", "s3"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(artifacts, "_PAGE", 5)
    if request.param == "folder":
        return FolderShelf(tmp_path / "artifacts")
    s3: S3 = request.getfixturevalue("s3_server")
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    for name in s3.names():
        s3.client.delete_object(Bucket=BUCKET, Key=f"reports/{name}")
    return BucketShelf(s3)


@dataclass(slots=True)
class HeldArtifacts:
    """A store that shows nothing until it is let go: whoever has the turn has it for so long."""

    artifacts: Artifacts
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def page(self, after: str) -> Sequence[Listed]:
        await self.go.wait()
        return await self.artifacts.page(after)

    async def of_job(self, job_id: JobId) -> Sequence[Listed]:
        return await self.artifacts.of_job(job_id)

    async def delete(self, paths: Collection[str]) -> None:
        await self.artifacts.delete(paths)


@dataclass(slots=True)
class StubbornArtifacts:
    """A store that doesn't give up what lies in some jobs' folders."""

    artifacts: Artifacts
    stubborn: set[JobId] = field(default_factory=set)
    asked: list[JobId] = field(default_factory=list)

    async def page(self, after: str) -> Sequence[Listed]:
        return await self.artifacts.page(after)

    async def of_job(self, job_id: JobId) -> Sequence[Listed]:
        self.asked.append(job_id)
        return await self.artifacts.of_job(job_id)

    async def delete(self, paths: Collection[str]) -> None:
        if any(path.startswith(tuple(self.stubborn)) for path in paths):
            raise PermissionError
        await self.artifacts.delete(paths)


async def new_sweeper(
    runs: QueueBench, artifacts: Artifacts, monotonic: Callable[[], float] = time.monotonic
) -> Sweeper:
    """Make a sweeper whose turn it is at the beginning of the store."""
    await runs.execute("UPDATE sweeping SET position = '', next_at = now()")
    return Sweeper(
        runs.database,
        artifacts,
        retention=RETENTION,
        times=SweepTimes(grace=0, round=3600),
        metrics=WorkerMetrics(CollectorRegistry()),
        monotonic=monotonic,
    )


@pytest.fixture
async def sweeper(runs: QueueBench, shelf: Shelf) -> Sweeper:
    return await new_sweeper(runs, shelf.artifacts)


async def whole_round(runs: QueueBench, sweeper: Sweeper) -> None:
    """Look through the store from wherever it is to the end, and then once more as a whole."""
    for _ in range(2):
        while await sweeper.sweep_page() is not None:
            pass
        await runs.execute("UPDATE sweeping SET next_at = now()")


def job(number: int, *, age: float = -60) -> NewRun:
    """A run of a job that is so many seconds old; ids that are yet to come are remembered."""
    moment = utc_now() - timedelta(seconds=age) + timedelta(milliseconds=number)
    return new_run(number, job_id=earliest(moment))


def path_of(attempt: Attempt) -> str:
    return f"{domain.artifact_folder(attempt)}/report.csv"


async def test_a_zombies_file_goes_and_the_winners_stays(
    runs: QueueBench, shelf: Shelf, sweeper: Sweeper
) -> None:
    (lost,) = await runs.take_in(job(1), free_slots=1)
    await runs.finish(lost, Lost())
    await runs.make_due()
    (won,) = await runs.queue().claim(free_slots=1)
    shelf.put(path_of(lost))
    shelf.put(path_of(won))
    await whole_round(runs, sweeper)
    assert shelf.names() == {path_of(lost), path_of(won)}
    await runs.finish(won, GENERATED)
    await whole_round(runs, sweeper)
    assert shelf.names() == {path_of(won)}
    shelf.put(path_of(lost))  # it had gone on writing
    await whole_round(runs, sweeper)
    assert shelf.names() == {path_of(won)}


async def test_the_files_of_a_deleted_job_go_at_once(
    runs: QueueBench, shelf: Shelf, sweeper: Sweeper
) -> None:
    done, kept = await runs.take_in(job(1), job(2), free_slots=2)
    for attempt in (done, kept):
        shelf.put(path_of(attempt))
        await runs.finish(attempt, GENERATED)
    await runs.take_in(Deletion(done))
    assert await sweeper.sweep_deleted() == 1
    assert shelf.names() == {path_of(kept)}
    assert await sweeper.sweep_deleted() == 0


async def test_a_job_that_is_deleted_while_it_runs_is_swept_when_it_has_stopped(
    runs: QueueBench, shelf: Shelf, sweeper: Sweeper
) -> None:
    (attempt,) = await runs.take_in(job(1), free_slots=1)
    shelf.put(path_of(attempt))
    await runs.take_in(Deletion(attempt))
    assert await sweeper.sweep_deleted() == 0
    await whole_round(runs, sweeper)
    assert shelf.names() == {path_of(attempt)}
    await runs.finish(attempt, domain.Cancelled())
    assert await sweeper.sweep_deleted() == 1
    assert shelf.names() == set()


async def deleted(runs: QueueBench, shelf: Shelf, count: int) -> list[Attempt]:
    """Delete so many jobs that had been completed."""
    attempts = await runs.take_in(*(job(number) for number in range(count)), free_slots=count)
    for attempt in attempts:
        shelf.put(path_of(attempt))
        await runs.finish(attempt, GENERATED)
        await runs.take_in(Deletion(attempt))
    return attempts


async def test_files_that_can_t_be_deleted_hold_up_no_others_and_are_tried_again_later(
    runs: QueueBench, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_JOBS_AT_A_TIME", 1)
    stubborn, now = StubbornArtifacts(shelf.artifacts), 0.0
    sweeper = await new_sweeper(runs, stubborn, lambda: now)
    first, second = await deleted(runs, shelf, 2)
    stubborn.stubborn.add(first.job_id)
    assert [await sweeper.sweep_deleted() for _ in range(3)] == [0, 1, 0]
    assert shelf.names() == {path_of(first)}
    assert stubborn.asked == [first.job_id, second.job_id]
    stubborn.stubborn.clear()
    now = 60.0
    assert await sweeper.sweep_deleted() == 1
    assert shelf.names() == set()


async def test_a_store_that_gives_up_nothing_is_left_alone_after_a_few_jobs(
    runs: QueueBench, shelf: Shelf
) -> None:
    stubborn = StubbornArtifacts(shelf.artifacts)
    sweeper = await new_sweeper(runs, stubborn)
    attempts = await deleted(runs, shelf, 9)
    stubborn.stubborn = {attempt.job_id for attempt in attempts[1:]}
    with pytest.raises(PermissionError):
        await sweeper.sweep_deleted()
    assert stubborn.asked == [attempt.job_id for attempt in attempts[:4]]
    assert path_of(attempts[0]) not in shelf.names()


async def test_a_folder_gives_each_file_once_wherever_others_have_come_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_PAGE", 2)
    shelf = FolderShelf(tmp_path / "artifacts")
    for name in "abcdefg":
        shelf.put(f"{name}/file")
    one, other = Folder(shelf.root), Folder(shelf.root)
    seen: list[str] = []
    for folder in (one, one, other, one, one):
        seen += [listed.path for listed in await folder.page(seen[-1] if seen else "")]
    assert seen == [f"{name}/file" for name in "abcdefg"]
    shelf.put("a/another")
    assert {listed.path for listed in await one.page("")} == {"a/another", "a/file"}


async def test_a_folder_deletes_what_it_can(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path / "artifacts")
    shelf.put("a/obstacle/file")
    shelf.put("b/file")
    with pytest.raises(OSError, match="obstacle"):
        await shelf.artifacts.delete(["a/obstacle", "b/file"])
    assert shelf.names() == {"a/obstacle/file"}


async def test_expired_jobs_go_and_files_of_nobody_stay(
    runs: QueueBench, shelf: Shelf, sweeper: Sweeper
) -> None:
    old, new = await runs.take_in(job(1, age=WEEK_AGO), job(2), free_slots=2)
    unknown = path_of(old).replace(old.job_id, job(3, age=WEEK_AGO).job_id)
    for path in (path_of(old), path_of(new), unknown, "README.md"):
        shelf.put(path)
    await runs.finish(old, GENERATED)
    await runs.finish(new, GENERATED)
    await whole_round(runs, sweeper)
    assert shelf.names() == {path_of(new), "README.md"}


async def test_one_sweeps_at_a_time_and_a_dead_one_is_replaced(
    runs: QueueBench, shelf: Shelf
) -> None:
    held = HeldArtifacts(shelf.artifacts)
    sweeper = await new_sweeper(runs, held)
    (attempt,) = await runs.take_in(job(1, age=WEEK_AGO), free_slots=1)
    await runs.finish(attempt, GENERATED)
    shelf.put(path_of(attempt))
    done = asyncio.as_completed([asyncio.create_task(sweeper.sweep_page()) for _ in range(4)])
    # The turn ends with the page: whoever asks after that may well have the next one.
    assert [await next(done) for _ in range(3)] == [None, None, None]
    held.go.set()
    assert await next(done) == 1
    shelf.put(path_of(attempt))
    await runs.execute("UPDATE sweeping SET position = '', next_at = now() - interval '1 second'")
    assert await sweeper.sweep_page() == 1


async def test_a_folder_keeps_neither_parts_of_uploads_nor_empty_folders(
    runs: QueueBench, tmp_path: Path
) -> None:
    shelf = FolderShelf(tmp_path / "artifacts")
    sweeper = await new_sweeper(runs, shelf.artifacts)
    failed, empty = await runs.take_in(job(1), job(2), free_slots=2)
    shelf.put(f"{path_of(failed)}#1")
    folder = shelf.root / domain.artifact_folder(empty)
    folder.mkdir(parents=True)
    os.utime(folder, (1, 1))
    for attempt in (failed, empty):
        await runs.finish(attempt, PERMANENT)
    await whole_round(runs, sweeper)
    assert shelf.names() == set()
    assert folder not in shelf.folders()


@dataclass
class History:
    """Jobs to which everything happens, and the files that have to be there in the end."""

    runs: QueueBench
    shelf: Shelf
    draw: random.Random
    going_on: list[Attempt] = field(default_factory=list)
    failed: list[Attempt] = field(default_factory=list)
    deleted: set[JobId] = field(default_factory=set)
    artifacts: dict[JobId, dict[int, str]] = field(default_factory=dict)
    expired: set[JobId] = field(default_factory=set)

    def begin(self, attempts: list[Attempt]) -> None:
        """Let attempts write; they leave a file whatever becomes of them."""
        for attempt in attempts:
            self.shelf.put(path_of(attempt))
            self.going_on.append(attempt)

    async def happen(self, number: int) -> None:
        """Let something happen to some job."""
        match self.draw.randrange(6):
            case 0 | 1:
                run = job(number, age=self.draw.choice([-60, -60, WEEK_AGO]))
                if run.job_id < earliest(utc_now() - RETENTION):
                    self.expired.add(run.job_id)
                self.begin(await self.runs.take_in(run, free_slots=1))
            case 2 | 3 if self.going_on:
                await self.end(self.going_on.pop(self.draw.randrange(len(self.going_on))))
            case 4 if self.failed:
                before = self.failed.pop()
                again = new_run(number, job_id=before.job_id, run=before.run + 1)
                self.begin(await self.runs.take_in(again, free_slots=1))
            case 5 if self.artifacts:
                job_id = self.draw.choice(sorted(self.artifacts))
                self.deleted.add(job_id)
                await self.runs.take_in(Deletion(new_run(number, job_id=job_id)))
            case _:
                await self.runs.make_due()
                self.begin(await self.runs.queue().claim(free_slots=1))

    async def end(self, attempt: Attempt) -> None:
        """End an attempt in some way."""
        outcomes: list[Outcome] = [GENERATED, GENERATED, TRANSIENT, PERMANENT, Lost()]
        outcome = self.draw.choice(outcomes)
        await self.runs.finish(attempt, outcome)
        if outcome is GENERATED:
            self.artifacts.setdefault(attempt.job_id, {})[attempt.run] = path_of(attempt)
        if outcome is PERMANENT:
            self.failed.append(attempt)

    async def conclude(self) -> None:
        """Let all that waits be tried, and all that goes on end."""
        while True:
            await self.runs.make_due()
            self.begin(await self.runs.queue().claim(free_slots=50))
            if not self.going_on:
                return
            while self.going_on:
                await self.end(self.going_on.pop())

    @property
    def referenced(self) -> set[str]:
        gone = self.deleted | self.expired
        return {
            path
            for job_id, by_run in self.artifacts.items()
            if job_id not in gone
            for path in by_run.values()
        }


@pytest.mark.parametrize("seed", range(4))
async def test_after_a_sweep_exactly_the_referenced_artifacts_remain(
    runs: QueueBench, shelf: Shelf, sweeper: Sweeper, seed: int
) -> None:
    history = History(runs, shelf, random.Random(seed))
    for number in range(150):
        await history.happen(number)
        if number % 10 == 0:
            await sweeper.sweep_deleted()
            await sweeper.sweep_page()
            assert history.referenced <= shelf.names()
    await history.conclude()
    await whole_round(runs, sweeper)
    assert shelf.names() == history.referenced
    assert history.referenced
