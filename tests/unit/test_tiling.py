"""The chunks of a complete delivery are its content: no gap, no overlap, every record accounted for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.tiling import ConservationBroken, LedgerRow, Totals, totals_of

counts = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
chunks = st.lists(st.tuples(st.integers(1, 50), counts), max_size=6)


def ledger_of(found: list[tuple[int, tuple[int, int, int, int]]], *, start: int) -> tuple[list[LedgerRow], int]:
    rows = []
    for length, parts in found:
        rows.append(LedgerRow(start, length, sum(parts), *parts))
        start += length
    return rows, start


@given(chunks, st.integers(0, 100))
def test_chunks_that_tile_add_up(found: list[tuple[int, tuple[int, int, int, int]]], start: int) -> None:
    ledger, end = ledger_of(found, start=start)
    totals = totals_of(ledger, start=start, end=end)
    assert totals == Totals(*(sum(column) for column in zip(*(row[2:] for row in ledger), strict=True))) if ledger else True
    assert totals.record_count == sum(totals[1:])


@given(chunks.filter(bool), st.data())
def test_a_chunk_left_out_doubled_moved_or_swapped_is_noticed(
    found: list[tuple[int, tuple[int, int, int, int]]], data: st.DataObject
) -> None:
    ledger, end = ledger_of(found, start=7)
    index = data.draw(st.integers(0, len(ledger) - 1))
    row = ledger[index]
    others = ledger[:index], ledger[index + 1 :]
    for broken in (
        [*others[0], *others[1]],
        [*others[0], row, row, *others[1]],
        [*others[0], row._replace(byte_offset=row.byte_offset + 1), *others[1]],
        [*others[0], row._replace(byte_offset=row.byte_offset - 1), *others[1]],
        [*others[0], row._replace(byte_length=row.byte_length - 1), *others[1]],
        [*others[0], row._replace(record_count=row.record_count + 1), *others[1]],
    ):
        with pytest.raises(ConservationBroken):
            totals_of(broken, start=7, end=end)
    if len(ledger) > 1:
        with pytest.raises(ConservationBroken):
            totals_of(ledger[::-1], start=7, end=end)


def test_no_chunks_make_up_an_empty_content_only() -> None:
    assert totals_of([], start=20, end=20) == Totals(0, 0, 0, 0, 0)
    with pytest.raises(ConservationBroken, match="end at byte 20, the content at 21"):
        totals_of([], start=20, end=21)
