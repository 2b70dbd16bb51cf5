"""Consumer positions, stored in the transaction of a batch's effects.

Kafka's committed offset alone can't heal a database that went back in time: the effects are gone
but the offset went on. The position here goes back with the effects.
"""

from collections.abc import Mapping
from typing import Final

from aiokafka import TopicPartition

from shared.database.pool import Connection

CREATE_V1: Final = """
CREATE TABLE positions (
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
)
"""

_LOAD: Final = "SELECT topic, partition, next_offset FROM positions WHERE topic = ANY($1::text[])"

# A slow former owner of a partition may store after the new one: never go back.
_SAVE: Final = """
INSERT INTO positions AS p (topic, partition, next_offset)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
ON CONFLICT (topic, partition) DO UPDATE
SET next_offset = greatest(p.next_offset, excluded.next_offset)
"""


async def load(conn: Connection, topics: list[str]) -> dict[TopicPartition, int]:
    """Return the next offset of every partition of `topics` that was ever handled."""
    rows = await conn.fetch(_LOAD, topics)
    return {TopicPartition(r["topic"], r["partition"]): r["next_offset"] for r in rows}


async def save(conn: Connection, next_offsets: Mapping[TopicPartition, int]) -> None:
    """Store the offsets after the last handled records, inside the caller's transaction."""
    partitions = sorted(next_offsets)
    await conn.execute(
        _SAVE,
        [p.topic for p in partitions],
        [p.partition for p in partitions],
        [next_offsets[p] for p in partitions],
    )
