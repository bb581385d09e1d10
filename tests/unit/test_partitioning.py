"""A key is found where every other Kafka client looks for it."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import example, given
from hypothesis import strategies as st

from dataharvest.rules.partitioning import partitions_of


@given(keys=st.lists(st.binary(max_size=200), max_size=20), partition_count=st.integers(1, 64))
@example(keys=[b"tenant|9e40659b-0000-4000-8000-%012d" % number for number in range(1000)], partition_count=8)
def test_each_key_has_the_partition_that_single_sends_choose(keys: list[bytes], partition_count: int) -> None:
    partitions = list(range(partition_count))
    chosen = [DefaultPartitioner()(key, partitions, partitions) for key in keys]
    assert partitions_of(keys, partition_count) == chosen
