"""Frames between the worker and its children: whole, in order, and never of absurd length."""

import asyncio
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_worker.execution.channel import Channel, open_channel
from report_worker.execution.protocol import ORDERS, Cancel
from tests.support.report_worker import eventually


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 30)))
def test_frames_arrive_whole_and_in_order_however_they_are_cut(
    bodies: list[bytes], cuts: list[int]
) -> None:
    arrived: list[bytes] = []
    channel = Channel(arrived.append, on_end=lambda: None)
    stream = b"".join(map(frame, bodies))
    for cut in cuts:
        channel.data_received(stream[:cut])
        stream = stream[cut:]
    channel.data_received(stream)
    assert arrived == bodies


class End:
    """One end, what arrived at it, and whether the other one is gone."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.ends = 0

    def is_over(self) -> None:
        self.ends += 1

    async def open(self, end: socket.socket) -> Channel:
        return await open_channel(end, self.bodies.append, self.is_over)


async def test_a_message_arrives_as_it_was_sent_and_the_end_is_told_once() -> None:
    ours, theirs = socket.socketpair()
    here, there = End(), End()
    channel, other = await here.open(ours), await there.open(theirs)
    channel.send(Cancel())
    await eventually(lambda: bool(there.bodies))
    assert ORDERS.validate_json(there.bodies[0]) == Cancel()
    other.close()
    await eventually(lambda: bool(here.ends))
    assert channel.is_closed
    channel.send(Cancel())
    channel.close()
    await asyncio.sleep(0)
    assert (here.ends, there.ends) == (1, 1)


@pytest.mark.parametrize("stream", [struct.pack(">I", 2**31), frame(b"no message of ours")])
async def test_what_is_no_message_of_ours_ends_the_channel(stream: bytes) -> None:
    ours, theirs = socket.socketpair()
    over = asyncio.Event()

    def read(body: bytes) -> None:
        ORDERS.validate_json(body)

    await open_channel(ours, read, over.set)
    with theirs:
        theirs.sendall(stream)
        await asyncio.wait_for(over.wait(), 20)
