"""Consumer positions, stored in the transaction of a batch's effects.

Kafka's committed offset alone can't heal a database that went back in time: the effects are gone
but the offset went on. The position here goes back with the effects. So that nobody then stores a
position beyond effects that are missing, each batch says which position it follows on.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

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

ARGUMENTS: Final = 4
"""How many arguments `SAVING` takes, from the first on."""

# A slow former owner of a partition may store after the new one: never go back. `lost` sees the
# table as it was before the INSERT.
SAVING: Final = """
batch AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[])
        AS b (topic, partition, follows, next_offset)
), lost AS (
    SELECT topic, partition FROM batch LEFT JOIN positions p USING (topic, partition)
    WHERE coalesce(p.next_offset, 0) < batch.follows
), saved AS (
    INSERT INTO positions AS p (topic, partition, next_offset)
    SELECT topic, partition, next_offset FROM batch WHERE NOT EXISTS (SELECT FROM lost)
    ON CONFLICT (topic, partition) DO UPDATE
    SET next_offset = greatest(p.next_offset, excluded.next_offset)
)
"""
"""What `save` does, for services that embed it in a statement of their own: its other parts must
do nothing where `lost` has rows, and its result say so."""

_SAVE: Final = f"WITH {SAVING} SELECT topic || '/' || partition AS name FROM lost"  # noqa: S608 - a constant
_SAVE_ALONE: Final = f"""
WITH {SAVING}
SELECT ARRAY(SELECT topic || '/' || partition FROM lost) AS lost,
       set_config('synchronous_commit', 'off', true)
"""  # noqa: S608 - a constant


class Advance(NamedTuple):
    """How far a batch moves one partition."""

    follows: int
    """The position that the batch builds on; 0 where nothing was stored."""
    next_offset: int
    """The offset after the batch's last record."""


Progress = Mapping[TopicPartition, Advance]
"""What a batch moves, by partition."""


class PositionsLostError(Exception):
    """The database went back: it lacks effects that were stored before. Read again from there."""


async def load(conn: Connection, topics: list[str]) -> dict[TopicPartition, int]:
    """Return the next offset of every partition of `topics` that was ever handled."""
    rows = await conn.fetch(_LOAD, topics)
    return {TopicPartition(r["topic"], r["partition"]): r["next_offset"] for r in rows}


async def save(conn: Connection, progress: Progress) -> None:
    """Store the offsets after the last handled records, inside the caller's transaction.

    Raises:
        PositionsLostError: where a stored position is lower than the one the batch follows on;
            the transaction must not commit.

    """
    rows = await conn.fetch(_SAVE, *arguments(progress))
    require_none_lost([row["name"] for row in rows])


async def save_alone(conn: Connection, progress: Progress) -> None:
    """Store the offsets after records that had no effects, in a statement and commit of their own.

    The commit doesn't wait for the disk: where a crash takes it back, the records are read again.

    Raises:
        PositionsLostError: as `save` does; then nothing is stored.

    """
    require_none_lost(await conn.fetchval(_SAVE_ALONE, *arguments(progress)))


def arguments(progress: Progress) -> tuple[list[object], ...]:
    """Return the arguments of `SAVING`."""
    partitions = sorted(progress)
    return (
        [p.topic for p in partitions],
        [p.partition for p in partitions],
        [progress[p].follows for p in partitions],
        [progress[p].next_offset for p in partitions],
    )


def require_none_lost(names: Collection[str]) -> None:
    """Raise PositionsLostError where `lost` named any partition."""
    if names:
        raise PositionsLostError(
            f"the database is behind its own positions in {', '.join(sorted(names))}"
        )
