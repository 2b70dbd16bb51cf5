"""Puts dead letters back where they came from: `python -m shared.bus.redrive --offset N [--all]`.

For use once the reason is gone, such as after an update of the consumer. What is still no good
comes back as a new dead letter; what had been handled after all is handled again, which consumers
are made for.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from shared.bus.dead_letter import (
    LEFT_OUT,
    ORIGIN_OFFSET,
    ORIGIN_PARTITION,
    ORIGIN_TOPIC,
    OWN_HEADERS,
    REASON,
)
from shared.bus.publisher import BusUnavailableError
from shared.bus.stored_log import open_log
from shared.events import text_headers
from shared.settings import KafkaSettings
from shared.topics import Topic

_SOURCES: Final = (Topic.REQUESTS, Topic.EVENTS)
_LARGEST_BYTES: Final = 1024 * 1024


class NotRedrivableError(Exception):
    """A letter that can't be put back; the message says why."""


@dataclass(frozen=True, slots=True)
class Original:
    """A record as it was before it became a letter."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def original(letter: ConsumerRecord, topics: Collection[str]) -> Original:
    """Take the record out of its letter; `topics` are those that letters may go back to.

    Raises:
        NotRedrivableError: where it came from elsewhere or its bytes were left out.

    """
    headers = text_headers(letter.headers)
    topic = headers.get(ORIGIN_TOPIC, "")
    if topic not in topics:
        raise NotRedrivableError(f"it doesn't come from a topic of ours: {topic!r}")
    if LEFT_OUT in headers:
        raise NotRedrivableError("its bytes were left out of the letter")
    own = [(name, value) for name, value in letter.headers if name not in OWN_HEADERS]
    return Original(topic=topic, key=letter.key or None, value=letter.value, headers=own)


async def redrive(settings: KafkaSettings, *, offset: int | None, is_all: bool) -> bool:
    """Put back the letter at `offset`, all from there on with `is_all`; tell of each on stdout.

    Returns whether every one of them could be put back.

    Raises:
        BusUnavailableError: where the broker doesn't answer in time; what was told of is done.
        LookupError: where there is no letter at `offset`.

    """
    topics = [settings.topic(topic) for topic in _SOURCES]
    is_complete = True
    async with open_log(settings, [Topic.DEAD_LETTER]) as log, _producer(settings) as producer:
        (partition,) = log.partitions
        letters = chosen((await log.bounds())[partition], offset=offset, is_all=is_all)
        async for records in log.read(partition, letters):
            for letter in records:
                try:
                    record = original(letter, topics)
                except NotRedrivableError as error:
                    is_complete = False
                    _tell(letter, f"left where it is: {error}")
                else:
                    await _write(producer, record, settings.publish_timeout)
                    _tell(letter, f"put back to {record.topic}")
    return is_complete


def chosen(letters: range, *, offset: int | None, is_all: bool) -> range:
    """Return the offsets to redrive out of those that the topic holds.

    Raises:
        LookupError: where `offset` is none of them.

    """
    if offset is None:
        return letters
    if offset not in letters:
        raise LookupError(
            f"no letter at offset {offset}: there are those from {letters.start}"
            f" to before {letters.stop}"
        )
    return range(offset, letters.stop if is_all else offset + 1)


@asynccontextmanager
async def _producer(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap_servers,
        acks="all",
        enable_idempotence=False,
        max_request_size=_LARGEST_BYTES,
        request_timeout_ms=int(settings.request_timeout * 1000),
    )
    async with asyncio.timeout(settings.request_timeout):
        await producer.start()
    try:
        yield producer
    finally:
        async with asyncio.timeout(settings.request_timeout):
            await producer.stop()


async def _write(producer: AIOKafkaProducer, record: Original, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await producer.send_and_wait(
                record.topic, record.value, key=record.key, headers=list(record.headers)
            )
    except (KafkaError, OSError) as error:
        raise BusUnavailableError(f"no acknowledgement: {type(error).__name__}") from error


def _tell(letter: ConsumerRecord, outcome: str) -> None:
    headers = text_headers(letter.headers)
    position = "/".join(
        headers.get(name, "?") for name in (ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET)
    )
    reason = headers.get(REASON, "no reason given")
    sys.stdout.write(f"letter {letter.offset} of {position}, {outcome} ({reason})\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the status is 0 when all chosen letters were put back, else 1 or 2."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.bus.redrive", description="Put dead letters back into their topics."
    )
    parser.add_argument("--offset", type=int, help="offset of the letter in the dead-letter topic")
    parser.add_argument(
        "--all", action="store_true", dest="is_all", help="all letters from --offset on, or at all"
    )
    options = parser.parse_args(arguments)
    if options.offset is None and not options.is_all:
        parser.error("give --offset N, --all, or both")
    try:
        settings = KafkaSettings()
        is_complete = asyncio.run(redrive(settings, offset=options.offset, is_all=options.is_all))
    except ValidationError as error:
        names = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        sys.stderr.write(f"redrive: settings missing or wrong: {names}\n")
        return 2
    except (BusUnavailableError, KafkaError, LookupError, OSError) as error:
        sys.stderr.write(f"redrive: {error or type(error).__name__}\n")
        return 1
    return 0 if is_complete else 1


if __name__ == "__main__":
    sys.exit(main())
