"""Keeps processes running: restarts one that dies, and stops all in the reverse of their order."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from local_stack.child import ChildProcess, ProcessSpec
from local_stack.errors import SetupError
from local_stack.identity import ProcessIdentity
from shared.backoff import Backoff

_log = logging.getLogger(__name__)

Identities = Mapping[str, ProcessIdentity]
"""The running processes by name."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long to wait before a restart. Times in seconds.

    The first restart comes almost at once; one that keeps dying waits longer each time, until it
    has stayed up for `stable_after`.
    """

    backoff: Backoff = field(default_factory=lambda: Backoff(first=0.2, longest=15.0))
    stable_after: float = 10.0

    def deaths_in_a_row(self, earlier: int, uptime: float) -> int:
        """Count a death after `uptime` seconds that follows `earlier` deaths in a row."""
        return 1 if uptime >= self.stable_after else earlier + 1

    def delay(self, deaths: int) -> float:
        """Return the wait after the given number of deaths in a row."""
        return self.backoff.delay(deaths)


_POLICY: Final = RestartPolicy()


class Supervisor:
    """Runs processes and starts each again when it dies, until it is told to stop it.

    `changed` is called with the running processes whenever one starts or ends.
    """

    def __init__(
        self,
        *,
        policy: RestartPolicy = _POLICY,
        changed: Callable[[Identities], None] = lambda _: None,
    ) -> None:
        self._policy = policy
        self._changed = changed
        self._supervised: dict[str, _Supervised] = {}

    @property
    def identities(self) -> dict[str, ProcessIdentity]:
        """The processes that run now."""
        running = ((name, one.child) for name, one in self._supervised.items())
        return {name: child.identity for name, child in running if child is not None}

    def deaths(self, name: str) -> int:
        """Return how often a process has died in a row, without staying up in between."""
        return self._supervised[name].deaths

    async def start(self, spec: ProcessSpec) -> None:
        """Start a process and keep it running; its name must not be in use."""
        if spec.name in self._supervised:
            raise ValueError(f"{spec.name} is supervised already")
        one = _Supervised(spec, self._policy, self._report)
        self._supervised[spec.name] = one
        await one.begin()

    async def stop(self, name: str) -> None:
        """Stop a process for good; nothing happens when it isn't supervised."""
        one = self._supervised.pop(name, None)
        if one is not None:
            await one.stop()

    async def kill(self, name: str) -> None:
        """End a process and all its children at once, as a crash would; it is started again."""
        child = self._supervised[name].child
        if child is not None:
            await child.kill()

    async def stop_all(self) -> None:
        """Stop everything, what was started last first."""
        for name in reversed(list(self._supervised)):
            await self.stop(name)

    def _report(self) -> None:
        self._changed(self.identities)


class _Supervised:
    """One process, and the task that watches it.

    The task alone starts and stops the process, so that a stop in the middle of a start leaves
    nothing behind.
    """

    def __init__(
        self, spec: ProcessSpec, policy: RestartPolicy, changed: Callable[[], None]
    ) -> None:
        self._spec = spec
        self._policy = policy
        self._changed = changed
        self._stop_wanted = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self.child: ChildProcess | None = None
        self.deaths = 0

    async def begin(self) -> None:
        await self._start()
        self._watch = asyncio.create_task(self._keep_running(), name=f"watch {self._spec.name}")

    async def stop(self) -> None:
        self._stop_wanted.set()
        if self._watch is not None:
            await self._watch
        _log.info("stopped %s", self._spec.name)

    async def _keep_running(self) -> None:
        clock = asyncio.get_running_loop().time
        while not self._stop_wanted.is_set():
            started = clock()
            if self.child is not None and await self._dies(self.child):
                self.child = None
                self._changed()
            if self.child is None:
                self.deaths = self._policy.deaths_in_a_row(self.deaths, clock() - started)
                await self._start_later()
        if self.child is not None:
            await self.child.stop()
            self.child = None
            self._changed()

    async def _dies(self, child: ChildProcess) -> bool:
        """Wait until the process dies (true) or a stop is wanted (false)."""
        death = asyncio.create_task(child.wait())
        stop = asyncio.create_task(self._stop_wanted.wait())
        await asyncio.wait((death, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not death.done():
            death.cancel()
            return False
        _log.warning("%s ended with status %d", self._spec.name, death.result())
        return True

    async def _start_later(self) -> None:
        delay = self._policy.delay(self.deaths)
        try:
            await asyncio.wait_for(self._stop_wanted.wait(), delay)
        except TimeoutError:
            await self._try_to_start()

    async def _try_to_start(self) -> None:
        try:
            await self._start()
        except (OSError, SetupError) as error:
            _log.warning("%s could not be started: %s", self._spec.name, error)

    async def _start(self) -> None:
        self.child = await ChildProcess.start(self._spec)
        _log.info("started %s as process %d", self._spec.name, self.child.identity.pid)
        self._changed()
