"""The read model held against the log, or made from it, with the commands that operators have."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from typing import Final

from local_stack.polling import poll_until
from tests.support.stack import SystemStack

_SECONDS: Final = 600.0


async def wait_until_verified(stack: SystemStack) -> None:
    """Return once the read model is the fold of the whole log; fail with what the command says."""
    outcomes: list[tuple[int | None, str]] = []

    async def is_verified() -> bool:
        outcomes.append(await _command(stack, "verify"))
        return outcomes[-1][0] == 0

    try:
        await poll_until(is_verified, seconds=_SECONDS)
    except TimeoutError:
        raise AssertionError(f"verify says {outcomes[-1:]}") from None


async def rebuild(stack: SystemStack) -> None:
    """Make the read model anew from the log, beside the running projector."""
    status, output = await _command(stack, "rebuild")
    assert status == 0, output


async def _command(stack: SystemStack, command: str) -> tuple[int | None, str]:
    """Run a command of the projector; return its exit status and output."""
    environment = {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": stack.topic_prefix,
        "STATUS_PROJECTOR_DATABASE_URL": stack.database.status_projector,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "status_projector", command),
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()
