"""How long a reader leaves the log alone between two batches, so that records gather.

What a batch costs is mostly the same for one record and for fifty: a fetch, a transaction, and all
that wakes up for both. An idle reader takes a record at once. One that hardly waited for its last
batch would go on in small ones, the smaller the busier the machine, and so it rests.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer

_SHARE: Final = 2.0
"""Of three parts of its time, a reader that is never out of work rests two."""


@dataclass(frozen=True, slots=True)
class Pace:
    """All in seconds."""

    gather: float = 0.0
    """The shortest rest after a batch, for readers that nobody waits for."""
    longest_rest: float = 0.025
    patience: float = 0.0
    """How long records of types without hurry wait for one that has it, and are handled with it."""

    def rest(self, *, waited: float, taken: float) -> float:
        """Return the rest after a batch, which was waited for, and then taken to handle.

        The wait counts as rest: whoever waited long enough has rested already.
        """
        wanted = min(_SHARE * taken, self.longest_rest)
        return max(wanted - waited, self.gather, 0.0)


@contextmanager
def fetching_held(consumer: AIOKafkaConsumer) -> Iterator[None]:
    """Fetch nothing during the body, which has to begin right after records were taken.

    Else the client fetches the first record that comes, and no more until that is taken; and where
    some wait for longer than 100 ms, it asks for other partitions alone, with all its patience.
    """
    held = consumer.assignment()
    consumer.pause(*held)
    try:
        yield
    finally:
        consumer.resume(*(held & consumer.assignment()))
