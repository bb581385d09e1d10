"""A key is found where every other Kafka client looks for it."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.partitioning import partition_of


@given(key=st.binary(max_size=200), partition_count=st.integers(1, 64))
def test_a_key_has_the_partition_that_single_sends_choose(key: bytes, partition_count: int) -> None:
    partitions = list(range(partition_count))
    assert partition_of(key, partition_count) == DefaultPartitioner()(key, partitions, partitions)
