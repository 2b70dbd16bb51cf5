"""Which partition a key belongs to: the one that every Kafka client chooses by default."""

import struct
from collections.abc import Sequence
from functools import cache
from typing import Final

from aiokafka.partitioner import DefaultPartitioner, murmur2

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF
_default: Final = DefaultPartitioner()
_words: Final = cache(struct.Struct)


def partition_of(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """Return the partition of a key, as aiokafka's own partitioner does in three times the time."""
    if key is None:
        chosen: int = _default(key, partitions, available)
        return chosen
    return partitions[(_hash(key) & _POSITIVE) % len(partitions)]


def _hash(key: bytes) -> int:
    """Return the 32-bit MurmurHash2 of a key; word by word where it is made of whole words."""
    count, rest = divmod(len(key), 4)
    if rest:
        whole: int = murmur2(key)
        return whole
    state = _SEED ^ len(key)
    for word in _words(f"<{count}I").unpack(key):
        mixed = word * _FACTOR & _WORD
        mixed = (mixed ^ mixed >> 24) * _FACTOR & _WORD
        state = state * _FACTOR & _WORD ^ mixed
    state = (state ^ state >> 13) * _FACTOR & _WORD
    return state ^ state >> 15
