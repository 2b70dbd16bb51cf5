"""A client of Kafka that writes to a connection in the moment of its end."""

import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from shared.bus.closed_transports import expect_closed_transports


async def send_over_a_transport_that_was_just_closed() -> AIOKafkaConnection:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as any_:
        host, port = any_.sockets[0].getsockname()
        connection = AIOKafkaConnection(host, port, request_timeout_ms=1000)
        _, connection._writer = await asyncio.open_connection(host, port)
        connection._writer.transport.abort()
        await connection._writer.wait_closed()
        with pytest.raises(KafkaConnectionError):
            await connection.send(ApiVersionRequest())
        return connection


def test_a_request_over_a_transport_that_was_just_closed_fails_as_over_a_lost_connection() -> None:
    expect_closed_transports()
    connection = uvloop.run(send_over_a_transport_that_was_just_closed())

    assert not connection.connected()
