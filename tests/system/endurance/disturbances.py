"""What services and servers go through meanwhile: by the seed, one after the other in two lanes.

Services are killed, frozen beyond their leases and stopped; the servers crash, freeze and lose
their clients. The two lanes don't wait for each other, nor for what they disturbed to recover.
"""

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import asyncpg

from local_stack.identity import ProcessIdentity, send_signal
from local_stack.polling import poll_until
from tests.support.servers import LocalKafka, LocalPostgres
from tests.support.stack import SystemStack
from tests.system.installation import Servers
from tests.system.processes import children_of
from tests.system.steps import SECONDS

_log = logging.getLogger(__name__)

Disturbance = tuple[str, Callable[[random.Random], Awaitable[None]]]
"""What it is called, and what it does."""

_SERVICE_PAUSE: Final = (0.3, 2.0)
_SERVER_PAUSE: Final = (2.0, 6.0)
_FROZEN: Final = (4.0, 9.0)
"""Seconds: a worker's lease holds three, and a consumer group waits six for a member."""
_AWAY: Final = (0.0, 4.0)
_OF_THE_STACK: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < $1
"""


class Disturbances:
    """Goes on until `over` is set, and logs what it does."""

    def __init__(
        self, stack: SystemStack, servers: Servers, seed: str, over: asyncio.Event
    ) -> None:
        self._stack = stack
        self._servers = servers
        self._seed = seed
        self._over = over

    async def run(self) -> None:
        """Disturb; return when all is as it was, but for what recovers by itself."""
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._lane("services", self._of_services(), _SERVICE_PAUSE))
            lanes.create_task(self._lane("servers", self._of_servers(), _SERVER_PAUSE))

    async def _lane(
        self, name: str, kinds: Sequence[Disturbance], pause: tuple[float, float]
    ) -> None:
        """Go through all kinds in an order by the seed, again and again."""
        draw = random.Random(f"{self._seed}/{name}")
        while True:
            for described, disturb in draw.sample(kinds, len(kinds)):
                if await self._is_over_within(draw.uniform(*pause)):
                    return
                _log.warning("disturbance: %s", described)
                await disturb(draw)

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _of_services(self) -> list[Disturbance]:
        names = list(self._stack.processes)
        return [
            *(("kill " + name, partial(self._signal, name, signal.SIGKILL)) for name in names),
            *(("freeze " + name, partial(self._freeze, name)) for name in names),
            *(("stop " + name, partial(self._signal, name, signal.SIGTERM)) for name in names),
        ]

    def _of_servers(self) -> list[Disturbance]:
        kafka, postgres = self._servers.kafka, self._servers.postgres
        return [
            ("kill kafka", partial(_crash, kafka)),
            ("kill postgres", partial(_crash, postgres)),
            ("freeze kafka", partial(_still, kafka)),
            ("restart kafka", partial(_restart, kafka)),
            ("restart postgres", partial(_restart, postgres)),
            ("end all connections", partial(self._end_connections, 1.0)),
            ("end some connections", partial(self._end_connections, 0.3)),
        ]

    async def _signal(self, name: str, number: signal.Signals, _: random.Random) -> None:
        """Signal exactly the service's process; it is started again when it has ended."""
        send_signal(await self._running(name), number)

    async def _freeze(self, name: str, draw: random.Random) -> None:
        """Make a zombie, sometimes of the processes that run its reports too."""
        identity = await self._running(name)
        frozen = [identity, *(children_of(identity) if draw.random() < 0.5 else ())]
        with _stopped(frozen):
            await asyncio.sleep(draw.uniform(*_FROZEN))

    async def _running(self, name: str) -> ProcessIdentity:
        async def runs() -> bool:
            return name in self._stack.processes

        await poll_until(runs, seconds=SECONDS)
        return self._stack.processes[name]

    async def _end_connections(self, share: float, _: random.Random) -> None:
        connection = await asyncpg.connect(self._stack.database.admin)
        try:
            await connection.execute(_OF_THE_STACK, share)
        finally:
            await connection.close()


async def _crash(server: LocalKafka | LocalPostgres, draw: random.Random) -> None:
    await server.kill()
    await asyncio.sleep(draw.uniform(*_AWAY))
    await server.start()


async def _restart(server: LocalKafka | LocalPostgres, _: random.Random) -> None:
    await server.restart()


async def _still(server: LocalKafka, draw: random.Random) -> None:
    with server.frozen():
        await asyncio.sleep(draw.uniform(*_FROZEN))


@contextmanager
def _stopped(processes: Sequence[ProcessIdentity]) -> Iterator[None]:
    for identity in processes:
        send_signal(identity, signal.SIGSTOP)
    try:
        yield
    finally:
        for identity in processes:
            send_signal(identity, signal.SIGCONT)
