"""Repairs of a delivery, as stages and adapters pass them around: what may be changed, and what changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dataharvest.deliveries import ChunkPlace, JudgedDelivery
from dataharvest.errors import Rejected
from dataharvest.quarantine import Action, Entry, State
from dataharvest.rules.repairs import Place


@dataclass(frozen=True, kw_only=True)
class Repairable:
    """A delivery whose records can be repaired now."""

    delivery: JudgedDelivery
    chunks: Sequence[ChunkPlace] = field(repr=False)
    """Its chunks in order, without a misaligned tail."""


@dataclass(frozen=True, kw_only=True)
class EntryChange:
    """What becomes of an open entry."""

    entry: Entry
    state: State
    persisted_count: int = 0
    duplicate_count: int = 0
    accepted_count: int = 0
    content: bytes | None = None
    natural_key: str | None = None
    """Of the row, where it is one."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What becomes of a delivery, all or nothing."""

    entries: Sequence[EntryChange]
    copy_columns: tuple[str, ...] = ()
    rows: Sequence[tuple[int, bytes]] = ()
    """Chunk, and row as COPY takes it."""
    replaced: Mapping[str, Place] = field(default_factory=dict)
    """Natural keys of rows that another record now stands for, and where those rows stood in the file."""
    action: Action
    contract_version: int | None = None


class Delta(NamedTuple):
    """What is added to the counts of a chunk."""

    persisted: int = 0
    quarantined: int = 0
    duplicate: int = 0
    accepted: int = 0

    def plus(self, other: "Delta") -> "Delta":
        """Both together."""
        return Delta(*map(sum, zip(self, other, strict=True)))


def deltas_of(changes: Changes) -> dict[int, Delta]:
    """What is added to the counts of each chunk; records read change only where a tail turns out to be several records."""
    found: dict[int, Delta] = {}
    for one in changes.entries:
        delta = Delta(one.persisted_count, -one.entry.record_count, one.duplicate_count, one.accepted_count)
        found[one.entry.chunk_index] = found.get(one.entry.chunk_index, Delta()).plus(delta)
    for place in changes.replaced.values():
        found[place.chunk_index] = found.get(place.chunk_index, Delta()).plus(Delta(persisted=-1, duplicate=1))
    return found


def unknown_delivery(delivery_id: int) -> Rejected:
    """Why a delivery that nobody knows can't be repaired."""
    return Rejected(f"Delivery {delivery_id} is not known.", rule="not_repairable")


def not_repairable(delivery_id: int, entity: str, state: str, *, newer: tuple[int, str] | None) -> Rejected | None:
    """Why records of a delivery can't be repaired; None when they can.

    Args:
        delivery_id: the delivery.
        entity: its kind of file.
        state: its state.
        newer: a newer delivery of the same kind that counts or is being read, with its state.
    """
    if state == "superseded" or (newer and newer[1] == "complete"):
        by = f", delivery {newer[0]}," if newer else ""
        message = f"Delivery {delivery_id} of {entity} was replaced: a newer file{by} counts instead."
    elif state != "complete":
        message = f"Delivery {delivery_id} of {entity} is {state}: its records can be repaired once it is complete."
    elif newer:
        message = (
            f"A newer file of {entity}, delivery {newer[0]}, is being read ({newer[1]}) and will replace delivery {delivery_id}: "
            f"wait until it is complete."
        )
    else:
        return None
    return Rejected(message, rule="not_repairable")
