"""Whether the chunks in the ledger make up the whole content, and what they add up to."""

from collections.abc import Sequence
from typing import NamedTuple


class LedgerRow(NamedTuple):
    """One stored chunk."""

    byte_offset: int
    byte_length: int
    record_count: int
    persisted_count: int
    quarantined_count: int
    duplicate_count: int
    accepted_count: int


class Totals(NamedTuple):
    """Counts of a delivery; the first is the sum of the others."""

    record_count: int
    persisted_count: int
    quarantined_count: int
    duplicate_count: int
    accepted_count: int


class ConservationBroken(AssertionError):
    """The ledger does not add up; this is a bug and must stop the worker."""


def totals_of(ledger: Sequence[LedgerRow], *, start: int, end: int) -> Totals:
    """Sums over the chunks, which must tile the bytes from ``start`` to ``end`` in order.

    Raises:
        ConservationBroken: a gap, an overlap, or records that are neither stored nor accounted for.
    """
    position = start
    for row in ledger:
        if row.byte_offset != position:
            raise ConservationBroken(f"chunk begins at byte {row.byte_offset}, the one before ends at {position}")
        position += row.byte_length
    if position != end:
        raise ConservationBroken(f"the chunks end at byte {position}, the content at {end}")
    totals = Totals(*(sum(row[field] for row in ledger) for field in range(2, 7)))
    if totals.record_count != sum(totals[1:]):
        raise ConservationBroken(f"{totals.record_count} records read, {sum(totals[1:])} accounted for")
    return totals
