"""What the stages need to judge a delivery."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import (
    ChunkPlace,
    JudgedDelivery,
    SetKey,
)
from dataharvest.messages import Judgement
from dataharvest.ports.sets import LockedSet
from dataharvest.rules.duplicates import Copy
from dataharvest.rules.records import CheckedChunk


class LockedJudgement(Protocol):
    """A delivery that is being judged, with its row locked; nothing counts unless the block ends without an error."""

    subject: JudgedDelivery

    async def count_next(self) -> bool:
        """Count, or search for copies, some more rows of a large delivery; True, at once, when it may be weighed, as a small one.

        False: commit what was counted and come again, so that whoever waits is served in between.
        """

    async def weigh(self) -> bool:
        """Count the rows, or add up what was counted, and tell whether a natural key may occur twice.

        False is certain, True has still to be found out.

        Raises:
            ConservationBroken: there are not as many rows as the ledger says.
        """

    async def find_duplicates(self, rule: DuplicateRule, *, at_most: int | None = None) -> list[ChunkPlace] | None:
        """Decide what can be decided from the ledger; returns, in order, the chunks that have still to be read again.

        Where there are more than ``at_most``, so many of them.

        None, of a large delivery: commit what was decided and come again.

        Raises:
            Rejected: it cannot be told any more which chunk a row came from.
        """

    async def keys_in(self, index: int) -> set[str]:
        """Natural keys to look for in a chunk that has to be read again."""

    async def settle(self, index: int, copies: Sequence[Copy], *, check: Callable[[bytes], CheckedChunk]) -> None:
        """Take in what was found in a chunk, in order; ``check`` turns a record into the row to store.

        It is kept if the block ends without an error, also when more is to be read first and the delivery is not complete.
        """

    async def remove_next(self) -> bool:
        """Remove some of what the rule removes, whole chunks of it, with its counts, and count in the end what is left.

        True when all of that is done. False: commit what was done and come again. What could not be settled, because the
        object is gone, is quarantined; nothing is read again any more.

        Raises:
            ConservationBroken: some of what is to be removed is not there, or other rows are left than ought to be.
        """

    async def complete(self) -> str:
        """Record counts and sums, and complete the delivery; returns its state. All that the rule removes is removed.

        Raises:
            ConservationBroken: the ledger does not add up.
        """


class Judgements(Protocol):
    """Deliveries from the moment they are all there to their completion."""

    async def begin(self, delivery_id: int) -> str:
        """Let a sealed delivery whose chunks are all in the ledger and tile its content be judged; returns its state.

        The state is ``broken`` when the ledger does not add up: the delivery stays sealed, with that as its failure.
        """

    async def begin_small(self, delivery_id: int, *, at_most: int) -> bool:
        """The same for a delivery of one chunk and at most so many records; whether this call has let it be judged.

        False changes nothing, and `begin` says why.
        """

    async def is_going_on(self, delivery_id: int) -> bool:
        """Whether the delivery is being judged, or waits for it."""

    async def unsent(self, key: SetKey) -> list[Judgement]:
        """Judgements of the set that were begun and not sent; none that is under way now or was dead-lettered."""

    async def overdue(self, *, age_s: float) -> list[Judgement]:
        """Judgements that were to be sent, or sent, so long ago; none that is done, under way now or was dead-lettered."""

    async def mark_sent(self, delivery_id: int) -> None:
        """The judgement is in Kafka; does not wait for one that is under way already."""

    def open(self, delivery_id: int, *, within: LockedSet | None = None) -> AbstractAsyncContextManager[LockedJudgement | None]:
        """The delivery in a transaction, or in that of its set; None when it is not to be judged, or not any more."""

    async def forget_concluded(self) -> int:
        """Forget what was kept between steps of deliveries that are not judged any more; returns of how many.

        One that does not add up keeps it until a newer one has replaced it.
        """

    async def note_waiting(self, delivery_id: int, failure: Mapping[str, Any]) -> None:
        """The judgement needs an object that can't be read now: keep the reason; it is overdue later and comes again."""

    async def note_broken(self, delivery_id: int, message: str) -> None:
        """The delivery does not add up: it stays as it is and holds its set up."""
