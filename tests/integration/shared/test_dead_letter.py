"""Dead letters on a real topic: a letter whose bytes nearly fill a message still gets there."""

import pytest

from shared.bus import BusConnection, BusPublisher, make_broker
from shared.bus.dead_letter import LARGEST_WRAPPED_BYTES, LEFT_OUT, dead_letter
from shared.topics import Topic
from tests.integration.shared.conftest import Log


@pytest.mark.parametrize(
    ("value_bytes", "header_bytes", "is_whole"),
    [
        (0, 0, True),
        (LARGEST_WRAPPED_BYTES - 200, 0, True),
        (LARGEST_WRAPPED_BYTES, 0, False),
        (0, LARGEST_WRAPPED_BYTES, False),
        (1000 * 1000, 0, False),
    ],
)
async def test_letter_of_any_record_can_be_published(
    log: Log, value_bytes: int, header_bytes: int, *, is_whole: bool
) -> None:
    await log.write_raw(b"v" * value_bytes, key=b"key", headers=[("note", b"h" * header_bytes)])
    (record,) = await log.read(Topic.EVENTS)
    broker = make_broker(log.settings, service="test")
    connection = BusConnection(broker, log.settings)
    await connection.connect()
    try:
        publisher = BusPublisher(broker, connection, log.settings)
        await publisher.publish_one(dead_letter(record, "r" * 5000, "reader"))
    finally:
        await connection.close()

    (letter,) = await log.read(Topic.DEAD_LETTER)
    told = {name: value.decode() for name, value in letter.headers}
    assert (LEFT_OUT not in told) is is_whole
    assert (letter.value == record.value) is (is_whole or not value_bytes)
    assert len(told["dl_reason"]) <= 1000
    assert told["dl_offset"] == "0"
