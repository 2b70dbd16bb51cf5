"""Keys go to the partitions that other clients look for them in."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.partitioner import partition_of

MANY = list(range(1_000_003))


@given(st.binary(max_size=64), st.integers(1, 12))
def test_a_key_goes_where_the_client_of_python_sends_it(key: bytes, count: int) -> None:
    partitions = list(range(count))
    expected = DefaultPartitioner()(key, partitions, partitions)
    assert partition_of(key, partitions, partitions) == expected


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    ],
)
def test_a_key_goes_where_the_client_of_java_sends_it(key: bytes, murmur2: int) -> None:
    # The hashes are what Kafka's own tests expect of its Utils.murmur2.
    assert partition_of(key, MANY, MANY) == (murmur2 & 0x7FFFFFFF) % len(MANY)


def test_a_message_without_a_key_goes_to_a_partition_that_is_there() -> None:
    assert partition_of(None, [0, 1, 2], [1]) == 1
