"""Every part is killed in the middle of 200 jobs, and no accepted job suffers from it."""

import asyncio
import signal

import pytest

from local_stack.identity import send_signal
from local_stack.polling import poll_until
from tests.support.receiver import Endpoint
from tests.support.stack import SystemStack
from tests.system.installation import Installation, Servers, run_installation
from tests.system.load import (
    SECONDS,
    Accepted,
    assert_one_end_per_run,
    assert_told_of_each,
    submit_many,
    wait_until_all_completed,
)
from tests.system.processes import processes_of, wait_until_only
from tests.system.read_model import wait_until_verified

JOBS = 200
SLOTS = 4
WORKER = {
    "REPORT_WORKER_LEASE": "3",
    "REPORT_WORKER_SLOTS": str(SLOTS),
    # Reports read the database that is killed: its absence is a passing failure of theirs.
    "REPORT_WORKER_MAX_FAILURES": "10",
    # Beside those that are meant, a busy machine may lose leases as short as these.
    "REPORT_WORKER_MAX_LOSSES": "12",
}
NOTIFIER = {"NOTIFIER_LEASE": "10", "NOTIFIER_POLL": "1"}


async def kill_service(stack: SystemStack, name: str) -> None:
    """SIGKILL exactly the service's process, and see that the supervisor starts another."""
    victim = stack.processes[name]
    send_signal(victim, signal.SIGKILL)

    async def has_successor() -> bool:
        return stack.processes.get(name, victim) != victim

    await poll_until(has_successor, seconds=SECONDS)


async def crash_everything(
    installation: Installation, endpoint: Endpoint, accepted: Accepted
) -> None:
    """Kill two parts while jobs come in, the rest while they run; none waits for the one before
    it to recover.
    """
    stack, servers = installation.stack, installation.servers
    await accepted.wait_for_count(JOBS // 5)
    await kill_service(stack, "gateway")
    await accepted.wait_for_count(2 * JOBS // 5)
    await servers.kafka.kill()
    await servers.kafka.start()
    await endpoint.wait_for_count(JOBS // 8, seconds=SECONDS)
    await kill_service(stack, "report-worker")
    await endpoint.wait_for_count(2 * JOBS // 8, seconds=SECONDS)
    await servers.postgres.kill()
    await servers.postgres.start()
    await endpoint.wait_for_count(3 * JOBS // 8, seconds=SECONDS)
    await kill_service(stack, "status-projector")
    await endpoint.wait_for_count(4 * JOBS // 8, seconds=SECONDS)
    await kill_service(stack, "notifier")


async def assert_nothing_is_left(stack: SystemStack) -> None:
    """All processes of a stopped stack are gone, as soon as the kernel has taken them away."""

    async def is_empty() -> bool:
        return not processes_of(stack)

    await poll_until(is_empty, seconds=SECONDS)


async def assert_all_end_when_asked(stack: SystemStack, caplog: pytest.LogCaptureFixture) -> None:
    """No service hangs after all of this: SIGTERM ends each with status 0."""
    for name, identity in stack.processes.items():
        send_signal(identity, signal.SIGTERM)

        async def has_ended_well(name: str = name) -> bool:
            return f"{name} ended with status 0" in caplog.messages

        await poll_until(has_ended_well, seconds=SECONDS)


async def test_no_accepted_job_suffers_from_crashes(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_installation(servers, worker=WORKER, notifier=NOTIFIER) as installation:
        stack, endpoint, accepted = installation.stack, installation.receiver.endpoint(), Accepted()
        first_lives = stack.processes

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(submit_many(installation, JOBS, endpoint, accepted))
            tasks.create_task(crash_everything(installation, endpoint, accepted))

        assert len(accepted.job_ids) == JOBS
        await wait_until_all_completed(installation, accepted.job_ids)
        await assert_told_of_each(endpoint, accepted.job_ids)
        await assert_one_end_per_run(stack, accepted.job_ids)
        await wait_until_verified(stack)
        assert all(stack.processes[name] != first for name, first in first_lives.items())
        await wait_until_only(stack, children=SLOTS + 1)
        await assert_all_end_when_asked(stack, caplog)

    await assert_nothing_is_left(stack)
