"""What the stages need of sets and their versions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.quarantine import Signature
from dataharvest.rules.control_totals import DeliveryTotals
from dataharvest.rules.manifest import Manifest
from dataharvest.rules.needs import Rule
from dataharvest.rules.notifying import Note
from dataharvest.rules.progress import SetProgress
from dataharvest.rules.versions import SetView


class LockedSet(Protocol):
    """A set whose row is locked."""

    async def view(self) -> SetView:
        """Deliveries that count and versions, as stored."""

    async def contract_of(self, tenant: str, number: int) -> Contract:
        """As `Contracts.version`, asked within the transaction.

        Raises:
            ContractTrouble: it was stored by another version of the program, which knew other fields.
        """

    async def manifest(self) -> Manifest | None:
        """The newest manifest of the set that can be used.

        Raises:
            Rejected: rule ``stored_manifest``: it was stored by another version of the program, which knew other entities.
        """

    async def manifest_put_at(self) -> datetime | None:
        """When the newest manifest of the set that can be used was put into the bucket."""

    async def totals(self, delivery_ids: Collection[int]) -> dict[str, DeliveryTotals]:
        """What is known of these complete deliveries, at most one of an entity, by entity."""

    async def set_totals_problem(self, problem: Mapping[str, Any] | None) -> None:
        """Note what is wrong with the control totals, or that nothing is; a problem of another kind stays."""

    async def create_version(self, version: int, deliveries: Mapping[str, int], *, waived: Collection[str] = ()) -> float:
        """Freeze these deliveries; older versions that have not begun to publish are cancelled.

        Of the entities ``waived`` the version has no records, and nothing waits for any.

        Returns:
            Seconds since the last of the files was registered.
        """

    async def traceparents(self, delivery_ids: Collection[int]) -> list[str]:
        """Spans of the latest steps of these deliveries, as far as they are kept."""

    async def note_trace(self, version: int, traceparent: str) -> None:
        """Keep the span that what follows from the version belongs to."""

    async def notify(self, note: Note) -> None:
        """Leave a notification to be sent, unless there is one with its id."""

    async def raise_edition(self) -> int:
        """Note that a version is due although no delivery is new; returns the new edition, to be told as `EditionRaised`.

        Whatever changes the set's records, or how its values are computed, calls this in the same transaction. Versions that
        have not begun to publish are cancelled at once, so that none goes on with rows that are half the old ones.

        Raises:
            Rejected: rule ``set_is_publishing``: a version is going out; its messages all have to be of one edition.
        """

    async def note_recompute(self, transformer: str, *, logic_version: int, by: Signature) -> None:
        """Keep who had the set computed again, by which logic, and why; after `raise_edition`, in its transaction."""

    async def announce(self, version: int, *rules: Rule) -> None:
        """Record that the rules may run, unsent."""

    async def set_published(self, version: int) -> float | None:
        """Every outbound message of the version is out.

        Returns:
            Seconds since the last of its files was registered; None when the version was not open.
        """


class Sets(Protocol):
    """Sets, their versions and facts."""

    async def progress(self, key: SetKey, *, rules: Iterable[Rule]) -> SetProgress:
        """What the ledger knows of the set's unfinished deliveries and batches."""

    async def confirm_done(self, key: SetKey, version: int, rule: Rule) -> None:
        """Record the fact the rule provides, if all its batches are done and the version still counts."""

    def locked(self, key: SetKey, *, reads_rows: bool = False) -> AbstractAsyncContextManager[LockedSet]:
        """The set in a transaction that no other decision about it can share.

        Whoever goes through its records in the transaction says so: what has come lately is made quick to find first.
        """

    async def sets_due(self, *, settle_s: float) -> list[SetKey]:
        """Sets whose newest complete deliveries and edition are no version yet although nothing is being read."""

    async def unsent_readiness(self, key: SetKey) -> list[tuple[int, str]]:
        """Version and rule of what was announced and not sent."""

    async def mark_readiness_sent(self, key: SetKey, sent: Sequence[tuple[int, str]]) -> None:
        """The readiness of these versions and rules is in Kafka."""
