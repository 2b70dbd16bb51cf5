"""The supervisor on small real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from local_stack.child import ChildProcess, ProcessSpec, run_to_end
from local_stack.errors import SetupError
from local_stack.files import last_lines
from local_stack.identity import ProcessIdentity, identify, is_alive, session_members
from local_stack.polling import poll_until
from local_stack.registry import end_leftovers, load_processes, save_processes
from local_stack.supervisor import RestartPolicy, Supervisor
from shared.backoff import Backoff

_SECONDS = 120.0
_QUICK = RestartPolicy(backoff=Backoff(first=0.01, longest=0.02))

_SLEEP = "import time; print('up', flush=True); time.sleep(600)"
_DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEP}"
_PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {_SLEEP!r}]); {_SLEEP}"
_DIE = "raise SystemExit(3)"


async def _until(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await poll_until(holds, seconds=_SECONDS, interval=0.01)


def _spec(tmp_path: Path, name: str, program: str, *, grace: float = _SECONDS) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=(sys.executable, "-c", program),
        log=tmp_path / f"{name}.log",
        stop_grace=grace,
    )


async def _is_up(spec: ProcessSpec) -> None:
    await _until(lambda: "up" in last_lines(spec.log))


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(policy=_QUICK)
    try:
        yield supervisor
    finally:
        await supervisor.stop_all()


async def test_killed_process_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(_spec(tmp_path, "one", _SLEEP))
    first = supervisor.identities["one"]

    await supervisor.kill("one")
    await _until(lambda: supervisor.identities.get("one", first) != first)

    assert not is_alive(first)
    assert is_alive(supervisor.identities["one"])


async def test_process_that_keeps_dying_is_counted(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(_spec(tmp_path, "one", _DIE))

    await _until(lambda: supervisor.deaths("one") >= 3)


async def test_process_that_waits_for_its_restart_can_be_stopped(tmp_path: Path) -> None:
    supervisor = Supervisor(policy=RestartPolicy(backoff=Backoff(first=600, longest=600)))
    await supervisor.start(_spec(tmp_path, "one", _DIE))
    await _until(lambda: not supervisor.identities)

    await asyncio.wait_for(supervisor.stop_all(), _SECONDS)

    assert supervisor.identities == {}


async def test_last_started_is_stopped_first(tmp_path: Path) -> None:
    running: list[list[str]] = []
    supervisor = Supervisor(changed=lambda identities: running.append(list(identities)))
    for name in ("server", "worker", "gateway"):
        await supervisor.start(_spec(tmp_path, name, _SLEEP))
    running.clear()

    await supervisor.stop_all()

    assert running == [["server", "worker"], ["server"], []]


async def test_name_is_supervised_once(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(_spec(tmp_path, "one", _SLEEP))

    with pytest.raises(ValueError, match="one"):
        await supervisor.start(_spec(tmp_path, "one", _SLEEP))


async def test_process_that_ignores_a_stop_is_killed_after_its_grace(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    spec = _spec(tmp_path, "deaf", _DEAF, grace=0.05)
    await supervisor.start(spec)
    await _is_up(spec)
    identity = supervisor.identities["deaf"]

    await supervisor.stop("deaf")

    assert not is_alive(identity)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_children_of_a_process_end_with_it(tmp_path: Path, how: str) -> None:
    spec = _spec(tmp_path, "parent", _PARENT)
    process = await ChildProcess.start(spec)
    await _until(lambda: last_lines(spec.log).count("up") == 2)
    members = session_members(process.identity)
    assert len(members) == 2

    await (process.stop() if how == "stop" else process.kill())

    await _until(lambda: not any(map(is_alive, members)))


async def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    program = f"""
import asyncio, pathlib, sys
from local_stack.child import ProcessSpec
from local_stack.registry import save_processes
from local_stack.supervisor import Supervisor

async def main():
    supervisor = Supervisor()
    log = pathlib.Path({str(tmp_path / "child.log")!r})
    command = (sys.executable, "-c", {_DEAF!r})
    await supervisor.start(ProcessSpec(name="child", command=command, log=log))
    save_processes(pathlib.Path({str(record)!r}), supervisor.identities)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    process = await ChildProcess.start(_spec(tmp_path, "supervisor", program))
    await _until(record.exists)
    child = load_processes(record)["child"]
    # Before it runs its program it hasn't yet asked the kernel to end with its parent.
    await _until(lambda: "up" in last_lines(tmp_path / "child.log"))
    assert is_alive(child)

    os.kill(process.identity.pid, signal.SIGKILL)
    await process.wait()

    await _until(lambda: not is_alive(child))


async def test_leftovers_are_ended_and_recycled_pids_are_spared(tmp_path: Path) -> None:
    left = await ChildProcess.start(_spec(tmp_path, "left", _SLEEP))
    stranger = await ChildProcess.start(_spec(tmp_path, "stranger", _SLEEP))
    record = tmp_path / "processes.json"
    recycled = ProcessIdentity(stranger.identity.pid, start_time=1, boot=stranger.identity.boot)
    save_processes(record, {"left": left.identity, "recycled": recycled})

    ended = await end_leftovers(record)

    assert ended == ["left"]
    assert not is_alive(left.identity)
    assert is_alive(stranger.identity)
    assert not record.exists()
    await left.wait()
    await stranger.stop()


async def test_failed_command_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    program = "print('no space left', flush=True); raise SystemExit(4)"

    with pytest.raises(SetupError, match=r"(?s)format failed with status 4.*no space left"):
        await run_to_end(_spec(tmp_path, "format", program), seconds=_SECONDS)


async def test_command_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    spec = _spec(tmp_path, "fetch", f"import os; print(os.getpid(), flush=True); {_SLEEP}")

    with pytest.raises(SetupError, match="fetch took longer"):
        await run_to_end(spec, seconds=1)

    started = [int(word) for word in spec.log.read_text().split() if word.isdecimal()]
    assert not any(map(identify, started))
