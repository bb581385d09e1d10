"""What repairing needs of the quarantine."""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from dataharvest.quarantine import Entry, EntryCount, HistoryLine, Selection, Signature
from dataharvest.repairs import Changes, Repairable
from dataharvest.rules.repairs import Place


class LockedRepair(Protocol):
    """A delivery that is being repaired, with its set locked; nothing counts unless the block ends without an error."""

    subject: Repairable

    async def entries(self, ids: Collection[int]) -> dict[int, Entry]:
        """These entries of the delivery, by number, as they are now and until the block ends."""

    async def repaired_places(self, keys: Collection[str]) -> dict[str, Place]:
        """Where those rows with one of these natural keys stand in the file that came from the quarantine."""

    async def stored_keys(self, keys: Collection[str]) -> set[str]:
        """Which of these natural keys are rows of the delivery."""

    async def apply(self, changes: Changes, *, by: Signature) -> int:
        """Store what becomes of entries and rows, with its history, and raise the set's edition; returns the edition.

        Raises:
            Rejected: rule ``set_is_publishing``, as for `LockedSet.raise_edition`.
            ConservationBroken: afterwards the rows or the ledger would not add up.
        """


class Quarantine(Protocol):
    """Records in quarantine, and deliveries that are repaired."""

    async def counts(self, selection: Selection) -> list[EntryCount]:
        """How much there is, by set, entity, rule and state."""

    async def entries(self, selection: Selection, *, limit: int | None = None) -> list[Entry]:
        """The first entries, in order of set, entity, delivery and place."""

    async def history(self, selection: Selection, *, limit: int | None = None) -> list[HistoryLine]:
        """What was done about the entries, the oldest first; the newest of it where there is a limit."""

    def repair(self, delivery_id: int, *, plan: bool) -> AbstractAsyncContextManager[LockedRepair]:
        """The delivery in a transaction that no decision about its set can share; with ``plan`` nothing of it is kept.

        Raises:
            Rejected: rule ``not_repairable``: the delivery does not count, or a newer file of its kind is there or on its way.
        """

    async def delivery(self, delivery_id: int) -> Repairable:
        """The delivery, whether or not it can be repaired.

        Raises:
            Rejected: rule ``not_repairable``: it is not known.
        """
