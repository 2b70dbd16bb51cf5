"""Frames between the worker and its children."""

import asyncio
import struct

import pytest

from report_worker.execution.protocol import ANSWERS, Done, Failed, Ready, Setup, receive
from tests.support.report_runs import GENERATED


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def test_frames_are_read_one_by_one() -> None:
    reader = reader_of(struct.pack(">I", 2) + b"ab" + struct.pack(">I", 0) + b"rest")
    assert await receive(reader) == b"ab"
    assert await receive(reader) == b""


async def test_the_end_of_the_other_side_is_told_apart_from_a_message() -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await receive(reader_of(b""))
    with pytest.raises(asyncio.IncompleteReadError):
        await receive(reader_of(struct.pack(">I", 5) + b"half"))


async def test_a_length_beyond_reason_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="no message of ours"):
        await receive(reader_of(struct.pack(">I", 2**31)))


@pytest.mark.parametrize(
    "answer",
    [
        Ready(),
        Done(artifact=GENERATED.artifact, row_count=7),
        Failed(code="TIMED_OUT", message="Too slow.", transient=False),
    ],
)
def test_an_answer_arrives_as_it_was_sent(answer: Ready | Done | Failed) -> None:
    assert ANSWERS.validate_json(answer.model_dump_json()) == answer


def test_an_answer_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        ANSWERS.validate_json(b'{"kind": "surprise"}')


def test_the_addresses_of_sources_are_not_shown() -> None:
    setup = Setup(
        catalogue=(), sources={"orders": "postgresql://u:s3cret@h/d"}, artifacts_url="file:///a",
        log_level="INFO",
    )  # fmt: skip
    assert "s3cret" not in repr(setup)
