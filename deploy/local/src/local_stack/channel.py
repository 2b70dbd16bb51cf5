"""How the supervisor in the background talks to the command that started it.

One JSON object per line: `{"progress": text}`, then `{"failed": text}` or `{"ready": ""}`. The
other way nothing is said; the end of the stream tells the supervisor that the command is gone.
"""

import json
import socket
from collections.abc import Iterator
from typing import Literal

Kind = Literal["progress", "failed", "ready"]


class Speaker:
    """The supervisor's end. A listener that went away is no error."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(0)

    def say(self, kind: Kind, text: str = "") -> None:
        """Send one message; it is dropped where nobody listens any more."""
        try:
            self._connection.sendall(json.dumps({kind: text}).encode() + b"\n")
        except OSError:
            return

    def is_abandoned(self) -> bool:
        """Tell, once the connection is readable, whether the listener is gone."""
        try:
            return self._connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def messages(connection: socket.socket) -> Iterator[tuple[str, str]]:
    """Yield each message as kind and text, until the supervisor ends the stream."""
    with connection.makefile("r") as lines:
        for line in lines:
            yield from json.loads(line).items()
