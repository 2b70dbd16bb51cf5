"""Writes one record that has a header whose name is no UTF-8: `... SERVERS TOPIC PARTITION`.

Run with AIOKAFKA_NO_EXTENSIONS=1: only the client's Python code can be talked into it.
"""

import asyncio
import sys

from aiokafka import AIOKafkaProducer


class _Bytes(str):
    """A header name that encodes to what is no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


async def _write(servers: str, topic: str, partition: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(
            topic, b"{}", key=b"key", partition=partition, headers=[(_Bytes("xx"), b"")]
        )


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], sys.argv[2], int(sys.argv[3])))
