"""Children on real processes: whatever a report does to its child ends that report alone."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from report_worker.domain import Failure, Generated, LossReason, Lost, Outcome, Released
from report_worker.execution.channel import open_channel
from report_worker.execution.child_pool import ChildPool
from report_worker.execution.protocol import Assignment, Setup
from shared.catalogue import ReportType
from shared.report_request import DateRange, ReportFormat, ReportRequest
from tests.support.plugins import DECLARED, install_plugin
from tests.support.report_runs import NOON, job_id

MEBIBYTE = 1024**2
LIMIT = 400 * MEBIBYTE
PATIENCE = 30.0
"""Seconds; what is waited for comes much sooner on a machine that isn't busy."""

MISCHIEF = """
import asyncio, ctypes, os, signal, subprocess, sys, threading, time
from pathlib import Path

from report_worker.plugins import ReportPlugin

HERE = Path(__file__).parent

def begun():
    (HERE / "begun").write_text(str(os.getpid()))

async def rows(report):
    begun()
    await MISCHIEF[NAME](report)
    yield [(report.from_date, None)]

async def hoard(report):
    taken = []
    while True:
        taken.append(bytearray(20 * 1024**2))
        await asyncio.sleep(0.02)

async def gulp(report):
    bytearray(64 * 1024**3)

async def segfault(report):
    ctypes.string_at(0)

async def loop(report):
    while True:
        pass

async def defy(report):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def orphan(report):
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    (HERE / "grandchild").write_text(str(started.pid))
    await asyncio.sleep(3600)

async def wait(report):
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)

async def nothing(report):
    pass

async def grow(report):
    global kept
    kept = bytearray(os.urandom(1024)) * (260 * 1024)

MISCHIEF = {name: value for name, value in globals().items() if callable(value)}
plugin = ReportPlugin(rows, columns=("day", "total"))
"""
NAMES = (
    "hoard",
    "gulp",
    "segfault",
    "loop",
    "defy",
    "orphan",
    "wait",
    "nothing",
    "grow",
)


def assignment(name: str, seconds: float = 600) -> Assignment:
    return Assignment(
        job_id=job_id(1),
        run=1,
        attempt=1,
        folder=f"{name}/1",
        request=ReportRequest(
            report_type=name.upper(),
            date_range=DateRange(from_date=NOON.date(), to_date=NOON.date()),
            format=ReportFormat.CSV,
        ),
        started_at=NOON,
        max_duration=seconds,
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - processes tell nobody
            await asyncio.sleep(0.02)


class Children:
    """Two warm children that know a report type for each mischief."""

    def __init__(self, pool: ChildPool, folder: Path) -> None:
        self.pool = pool
        self.folder = folder

    async def run(self, name: str, *, seconds: float = 600) -> Outcome:
        async with asyncio.timeout(PATIENCE):
            return await self.pool.execute(assignment(name, seconds), lambda _: None)

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition)

    def is_whole(self) -> bool:
        return self.pool.capacity == 2


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    for name in NAMES:
        install_plugin(tmp_path, MISCHIEF.replace("[NAME]", f"[{name!r}]"), name=name)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    types = [
        ReportType.model_validate(DECLARED | {"name": name.upper(), "plugin": name})
        for name in NAMES
    ]
    return Setup(
        catalogue=tuple(types),
        sources={},
        artifacts_url=(tmp_path / "artifacts").as_uri(),
        log_level="ERROR",
        memory_limit=LIMIT,
    )


@pytest.fixture
async def children(setup: Setup, tmp_path: Path) -> AsyncIterator[Children]:
    pool = ChildPool(setup, size=2)
    async with pool.warm(lambda: None):
        children = Children(pool, tmp_path)
        await children.until(children.is_whole)
        yield children


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and isn't a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid_in(path: Path) -> int:
    return int(path.read_text())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hoard", Lost(LossReason.OUT_OF_MEMORY)),
        ("gulp", Lost(LossReason.OUT_OF_MEMORY)),
        ("segfault", Lost(LossReason.CRASHED)),
    ],
)
async def test_a_report_that_ruins_its_child_ends_alone(
    children: Children, name: str, expected: Outcome
) -> None:
    neighbour = asyncio.create_task(children.run("wait"))
    await children.until((children.folder / "begun").exists)
    assert await children.run(name) == expected
    (children.folder / "go").touch()
    assert isinstance(await neighbour, Generated)
    await children.until(children.is_whole)
    assert isinstance(await children.run("nothing"), Generated)


async def test_an_attempt_that_finds_no_child_is_given_back(setup: Setup, tmp_path: Path) -> None:
    children = Children(ChildPool(setup, size=1, patience=0.05), tmp_path)
    assert await children.run("nothing") == Released()


@pytest.mark.parametrize("name", ["loop", "defy"])
async def test_a_report_that_can_t_be_asked_to_stop_is_killed_when_its_time_is_over(
    children: Children, name: str
) -> None:
    outcome = await children.run(name, seconds=5)  # it has to have begun by then
    assert isinstance(outcome, Failure)
    assert outcome.code == "TIMED_OUT"
    child = pid_in(children.folder / "begun")
    await children.until(lambda: not is_alive(child))
    await children.until(children.is_whole)


@pytest.mark.parametrize("name", ["loop", "defy", "wait"])
async def test_a_cancelled_report_stops_whatever_it_does(children: Children, name: str) -> None:
    running = asyncio.create_task(children.run(name))
    await children.until((children.folder / "begun").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await children.until(children.is_whole)
    assert isinstance(await children.run("nothing"), Generated)
    assert not list((children.folder / "artifacts").rglob(f"{name}/**/*.csv"))


async def test_what_a_report_started_dies_with_its_child(children: Children) -> None:
    running = asyncio.create_task(children.run("orphan"))
    grandchild = children.folder / "grandchild"
    await children.until(lambda: grandchild.exists() and grandchild.read_text() != "")
    os.kill(pid_in(children.folder / "begun"), 11)
    assert await running == Lost()
    await children.until(lambda: not is_alive(pid_in(grandchild)))


async def test_a_child_that_grew_too_much_is_replaced_before_it_fails_another_report(
    children: Children,
) -> None:
    assert isinstance(await children.run("grow"), Generated)
    grown = pid_in(children.folder / "begun")
    await children.until(lambda: not is_alive(grown))
    await children.until(children.is_whole)
    assert isinstance(await children.run("nothing"), Generated)


async def test_a_child_whose_parent_is_gone_ends_without_a_word(
    setup: Setup, tmp_path: Path
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "report_worker.execution.child", str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stderr=asyncio.subprocess.PIPE,
        )
    channel = await open_channel(ours, lambda _: None, lambda: None)
    channel.send(setup)
    channel.send(assignment("wait"))
    await until((tmp_path / "begun").exists)
    channel.close()
    async with asyncio.timeout(PATIENCE):
        _, said = await child.communicate()
    assert (child.returncode, said) == (0, b"")
