"""A key is found where every other Kafka client looks for it, and chunks are dealt out."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import example, given
from hypothesis import strategies as st

from dataharvest.rules.partitioning import partitions_of, turn_of_chunk


@given(keys=st.lists(st.binary(max_size=200), max_size=20), partition_count=st.integers(1, 64))
@example(keys=[b"tenant|9e40659b-0000-4000-8000-%012d" % number for number in range(1000)], partition_count=8)
def test_each_key_has_the_partition_that_single_sends_choose(keys: list[bytes], partition_count: int) -> None:
    partitions = list(range(partition_count))
    chosen = [DefaultPartitioner()(key, partitions, partitions) for key in keys]
    assert partitions_of(keys, partition_count) == chosen


def test_chunks_of_a_delivery_are_dealt_out_one_after_the_other() -> None:
    keys = [b"41:%d" % index for index in range(32)]
    turns = [turn_of_chunk(key) for key in keys]
    assert turns == list(range(41, 73))


def test_first_chunks_of_many_deliveries_are_dealt_out_too() -> None:
    assert [turn_of_chunk(b"%d:0" % delivery_id) for delivery_id in (7, 8, 9)] == [7, 8, 9]


@given(key=st.binary(max_size=40))
@example(key=b"bank|2024-03-28")
@example(key=b"chunks:3:17")
@example(key=b"1:2:3")
@example(key=b"41:")
@example(key=b"41:2\n")
@example(key="٤:١".encode())
@example(key=b"1" * 5_000 + b":1")
@example(key=b"9223372036854775807:2147483647")
def test_no_other_key_has_a_turn(key: bytes) -> None:
    delivery_id, colon, index = key.partition(b":")
    is_number = delivery_id.isdigit() and len(delivery_id) < 20, index.isdigit() and len(index) < 11
    is_chunk = colon == b":" and all(is_number)
    assert (turn_of_chunk(key) is not None) == is_chunk
