"""Has aiokafka take a transport that was closed a moment ago for a connection that is lost.

Between the end of a connection and the client's hearing of it, a request may be written to it all
the same. asyncio's transport lets that pass; uvloop's raises a bare RuntimeError, which the client
expects nowhere: in its producer it ends the task that sends, and nothing is ever sent again.
"""

from collections.abc import Awaitable
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send: Final = AIOKafkaConnection.send


def _send_or_say_that_it_is_lost(
    connection: AIOKafkaConnection,
    request: Any,
    expect_response: bool = True,
) -> Awaitable[Any]:
    try:
        response: Awaitable[Any] = _send(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"the connection is closed: {error}") from error
    return response


def expect_closed_transports() -> None:
    """Change the client for the whole process; may be called again."""
    AIOKafkaConnection.send = _send_or_say_that_it_is_lost
