"""Records that the log reader can make nothing of."""

import json

import pytest
from aiokafka import TopicPartition

from shared.events import byte_headers
from shared.topics import Topic
from tests.integration.shared.conftest import (
    Effects,
    Log,
    StartReader,
    message,
)

GOOD_HEADERS = byte_headers(message(7).headers)


@pytest.mark.parametrize(
    ("value", "key", "headers", "reason"),
    [
        (b"{no json", b"key", GOOD_HEADERS, "JSON"),
        (b"[]", b"key", GOOD_HEADERS, "body"),
        (b"\xff\xfe", b"key", GOOD_HEADERS, "JSON"),
        (b"{}", b"key", [], "no CloudEvent"),
        (b"{}", b"key", [("ce_type", b"\xff\xfe"), ("ce_type", b"")], "no CloudEvent"),
        (b"{}", b"key", GOOD_HEADERS, "jobId"),
        (None, b"key", GOOD_HEADERS, "JSON"),
        (b"{}", None, [], "no CloudEvent"),
        (
            message(7).value.replace(b'"worker"', b'"wor\\u0000ker"'),
            b"",
            GOOD_HEADERS,
            "NUL",
        ),
        (
            message(7).value.replace(b'"run":1', b'"run":99999999999'),
            b"",
            GOOD_HEADERS,
            "run",
        ),
        (b"x" * 960 * 1024, b"key", GOOD_HEADERS, "left out"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_record_that_cannot_be_read_goes_to_the_dead_letter_and_its_neighbours_are_handled(
    log: Log,
    effects: Effects,
    start_reader: StartReader,
    value: bytes | None,
    key: bytes | None,
    headers: list[tuple[str, bytes]],
    reason: str,
) -> None:
    await log.write(1, partition=0)
    offset = await log.write_raw(value, key=key, headers=headers)
    await log.write(2, partition=0)

    async with start_reader(effects):
        await effects.wait_for(1, 2)

    (letter,) = await log.read(Topic.DEAD_LETTER)
    told = {name: text.decode() for name, text in letter.headers}
    assert told["dl_topic"] == log.settings.topic(Topic.EVENTS)
    assert (told["dl_partition"], told["dl_offset"]) == ("0", str(offset))
    assert reason in told["dl_reason"]
    assert told["dl_consumer"] == "reader"
    if "left out" not in reason:
        assert (letter.key or b"", letter.value or b"") == (key or b"", value or b"")
    assert set((await effects.counts()).values()) == {1}


async def test_header_name_that_is_no_text_costs_that_record_alone(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    await log.write(*range(30), partition=0)
    await log.write_unreadable(partition=0)
    await log.write_unreadable(partition=0)
    await log.write(*range(30, 60), partition=0)
    await log.write(*range(60, 90), partition=1)
    await log.write_unreadable(partition=1)

    async with start_reader(effects) as reading:
        await effects.wait_for(*range(90))
        await log.write(90, partition=1)
        await effects.wait_for(90)
        # It may be reading the other partition again, from where it was committed.
        await reading.wait_until_reading()

    letters = await log.read(Topic.DEAD_LETTER)
    told = [{name: text.decode() for name, text in letter.headers} for letter in letters]
    assert {(letter["dl_partition"], letter["dl_offset"]) for letter in told} == {
        ("0", "30"),
        ("0", "31"),
        ("1", "30"),
    }
    assert {letter["dl_left_out"] for letter in told} == {"true"}


async def test_header_value_that_is_no_text_is_no_reason_to_refuse_the_record(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    sent = message(1)
    await log.write_raw(sent.value, headers=[*byte_headers(sent.headers), ("note", b"\xff\xfe")])

    async with start_reader(effects):
        await effects.wait_for(1)

    assert await log.read(Topic.DEAD_LETTER) == []


async def test_event_type_of_a_later_version_is_passed_over(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    headers = [("ce_id", b"1"), ("ce_type", b"report-jobs.JobDreamt.v9")]
    await log.write_raw(json.dumps({"a": 1}).encode(), headers=headers)
    await log.write(1, partition=0)

    async with start_reader(effects):
        await effects.wait_for(1)

    assert await log.read(Topic.DEAD_LETTER) == []
    position = TopicPartition(log.settings.topic(Topic.EVENTS), 0)
    assert (await effects.positions())[position] == 2
