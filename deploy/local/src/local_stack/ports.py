"""Ports on loopback: chosen free, and kept so that a restart keeps its addresses."""

import json
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from local_stack.errors import SetupError
from local_stack.files import write_atomically

LOOPBACK: Final = "127.0.0.1"

_LOWEST: Final = 15_000
_EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES: Final = 200


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports() -> Iterator[int]:
    """Return random free ports below the ephemeral range.

    The kernel hands ephemeral ports to outgoing connections: while a server is down, one of its
    own clients could take (or even connect to itself on) a port from that range.

    No port is drawn twice while the process lives that asked for it, be its server up or not.
    """
    ephemeral_start = int(_EPHEMERAL_RANGE.read_text().split()[0])
    highest = ephemeral_start if ephemeral_start > _LOWEST else 32_768
    drawn = (random.randrange(_LOWEST, highest) for _ in range(_TRIES))  # noqa: S311 - no secret
    return (port for port in drawn if is_free(port) and _is_ours(port))


def _is_ours(port: int) -> bool:
    """Take a port for this process, unless another one has, before any server listens there.

    The mark is a name among those of sockets, which vanishes with the process however it ends.
    """
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0report-jobs port {port}")
    except OSError:
        mark.close()
        return False
    mark.detach()  # and so nobody closes it
    return True


class Ports:
    """The ports of one stack by name, kept in a JSON file."""

    def __init__(
        self,
        path: Path,
        *,
        is_free: Callable[[int], bool] = is_free,
        free_ports: Callable[[], Iterator[int]] = free_ports,
    ) -> None:
        self._path = path
        self._is_free = is_free
        self._free_ports = free_ports

    def known(self, name: str) -> int | None:
        """Return the port chosen earlier, if any."""
        return self._read().get(name)

    def choose(self, name: str) -> int:
        """Return the port chosen earlier while it is still free, else choose and keep another.

        Raises:
            SetupError: where no free port is found.

        """
        ports = self._read()
        kept = ports.get(name)
        if kept is not None and self._is_free(kept):
            return kept
        others = set(ports.values())
        free = (port for port in self._free_ports() if port not in others)
        chosen = next(free, None)
        if chosen is None:
            raise SetupError(f"no free port found on {LOOPBACK} for {name}")
        write_atomically(self._path, json.dumps(ports | {name: chosen}, indent=2) + "\n")
        return chosen

    def _read(self) -> dict[str, int]:
        if not self._path.exists():
            return {}
        ports: dict[str, int] = json.loads(self._path.read_text())
        return ports
