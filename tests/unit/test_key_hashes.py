"""Hashes of natural keys: those that occur twice are found, however they come and however few may be held at once."""

import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.adapters.postgres.key_hashes import PartedHashes, suspects_in
from dataharvest.errors import Unavailable
from dataharvest.rules.key_hashes import (
    MAX_SUSPECTS,
    cuts,
    part_groups,
    parts,
    repeated,
    repeated_count,
    repeated_in,
    stored,
    stored_hashes,
    thinned,
)

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
hash_lists = st.lists(INT64 | st.sampled_from([-(1 << 63), -1, 0, 1, (1 << 63) - 1]), max_size=60)


def twice(hashes: list[int]) -> list[int]:
    """Those that occur more than once."""
    return sorted(one for one, count in Counter(hashes).items() if count > 1)


def binary_copy(hashes: list[int]) -> bytes:
    """What COPY sends in binary format for rows of one bigint."""
    rows = (struct.pack(">hiq", 1, 8, one) for one in hashes)
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff"


@given(hashes=hash_lists)
async def test_those_that_occur_twice_in_one_value_are_found(hashes: list[int]) -> None:
    assert await suspects_in(struct.pack(f">{len(hashes)}q", *hashes)) == twice(hashes)


@given(hashes=hash_lists, part_count=st.integers(1, 7), piece_bytes=st.integers(1, 50))
async def test_those_that_occur_twice_in_a_copy_are_found_wherever_it_is_cut(
    hashes: list[int], part_count: int, piece_bytes: int
) -> None:
    data = binary_copy(hashes)
    with PartedHashes(part_count=part_count, most=len(hashes), piece_bytes=64) as parted:
        for start in range(0, len(data), piece_bytes):
            await parted.add(data[start : start + piece_bytes])
        assert parted.suspects() == twice(hashes)


@given(hashes=hash_lists, part_count=st.integers(1, 300))
def test_parts_join_to_the_hashes_and_lie_in_the_same_places_for_all(hashes: list[int], part_count: int) -> None:
    everything = np.array(hashes, dtype=np.int64)
    found = [one.tolist() for one in parts(everything.copy(), part_count=part_count)]
    assert len(found) == part_count
    assert [one for part in found for one in part] == sorted(hashes)
    for one in set(hashes):
        [part] = [number for number, part in enumerate(parts(np.array([one]), part_count=part_count)) if len(part)]
        assert one in found[part]


@given(slices=st.lists(hash_lists, min_size=1, max_size=5), part_count=st.integers(1, 9), most=st.integers(1, 60))
def test_those_that_occur_twice_are_found_part_by_part_in_whatever_slices(
    slices: list[list[int]], part_count: int, most: int
) -> None:
    arrays = [np.array(one, dtype=np.int64) for one in slices]
    places = [cuts(one, part_count=part_count) for one in arrays]
    counts = np.diff(np.array(places)).sum(axis=0).tolist()
    groups = part_groups(counts, most=most)
    found = []
    for start, stop in groups:
        pieces = [bytes(stored(one))[8 * place[start] : 8 * place[stop]] for one, place in zip(arrays, places, strict=True)]
        assert sum(map(len, pieces)) <= 8 * most or stop == start + 1
        found += repeated(stored_hashes(pieces)).tolist()
    assert found == twice([one for hashes in slices for one in hashes])


@given(counts=st.lists(st.integers(0, 20), min_size=1, max_size=12), most=st.integers(1, 40))
def test_groups_of_parts_follow_each_other_and_are_as_few_as_hold_everything(counts: list[int], most: int) -> None:
    groups = part_groups(counts, most=most)
    assert [start for start, _ in groups] == [0, *(stop for _, stop in groups[:-1])]
    assert groups[-1][1] == len(counts)
    assert all(sum(counts[start:stop]) <= most or stop == start + 1 for start, stop in groups)
    assert all(sum(counts[start:stop]) + counts[stop] > most for start, stop in groups[:-1])


@given(hashes=hash_lists)
def test_at_most_two_of_each_are_kept_and_those_that_occur_twice_are_counted(hashes: list[int]) -> None:
    counts = Counter(hashes)
    assert thinned(np.array(hashes, dtype=np.int64)).tolist() == sorted(
        Counter({key: min(2, n) for key, n in counts.items()}).elements()
    )
    assert repeated_count(np.array(hashes, dtype=np.int64)) == sum(count for count in counts.values() if count > 1)


@given(pieces=st.lists(hash_lists, min_size=1, max_size=5))
def test_each_piece_is_told_which_of_its_own_occur_twice_in_all(pieces: list[list[int]]) -> None:
    counts = Counter(one for piece in pieces for one in piece)
    found = repeated_in([np.array(sorted(piece), dtype=np.int64) for piece in pieces])
    assert [piece.tolist() for piece in found] == [[one for one in sorted(piece) if counts[one] > 1] for piece in pieces]


async def test_more_in_one_part_than_may_be_held_are_not_looked_at_one_by_one() -> None:
    with PartedHashes(part_count=4, most=10) as parted:
        await parted.add(binary_copy([7] * 11))
        assert parted.suspects() is None


async def test_more_suspects_than_can_be_named_are_not_named() -> None:
    hashes = 2 * list(range(MAX_SUSPECTS + 1))
    assert await suspects_in(struct.pack(f">{len(hashes)}q", *hashes)) is None
    with PartedHashes(part_count=1, most=len(hashes)) as parted:
        await parted.add(binary_copy(hashes))
        assert parted.suspects() is None


async def test_a_full_disk_is_an_outage() -> None:
    full = Path("/dev/full").open("wb")  # noqa: SIM115 - closed with the parts
    parted = PartedHashes(part_count=1, most=10, open_file=lambda: full)
    with parted, pytest.raises(Unavailable, match="temporary files"):
        await parted.add(binary_copy(list(range(100_000))))
