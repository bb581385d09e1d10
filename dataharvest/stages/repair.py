"""Repair: records leave the quarantine as rows or for good, and their set goes on by itself."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import EditionRaised
from dataharvest.objects import ObjectStore
from dataharvest.ports import Contracts, LockedRepair, Quarantine, Sender
from dataharvest.quarantine import DUPLICATE, Changes, Entry, EntryChange, Selection, Signature
from dataharvest.stages.read_repaired import Attempt, AttemptedRepair, read_fixed, read_replayed
from dataharvest.stages.records_again import RecordsAgain

logger = logging.getLogger(__name__)

MAX_ENTRIES = 10_000
"""Entries of one command: of more the sender should correct the file."""

Result = Literal["fixed", "duplicate", "accepted", "unchanged", "left"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one entry."""

    entry: Entry
    result: Result
    message: str = ""


@dataclass(kw_only=True)
class Report:
    """What a repair came to."""

    outcomes: list[Outcome] = field(default_factory=list)
    editions: dict[SetKey, int] = field(default_factory=dict)
    """Sets that changed, with their new edition; a version of each is due."""


@dataclass(kw_only=True)
class Repairs:
    """Fixes, accepts and replays; with ``plan`` each says what it would do and changes nothing.

    A delivery's entries change together or not at all. Every method raises Rejected when nothing can be done, with the reason,
    and Unavailable when PostgreSQL or the object store is not there; the same call may then succeed later.
    """

    quarantine: Quarantine
    contracts: Contracts
    objects: ObjectStore
    sender: Sender

    async def fix(self, contents: Mapping[int, bytes], *, by: Signature, plan: bool = False) -> Report:
        """Let each of these entries be the record given for it; one that is that already stays so.

        Raises:
            Rejected: rule ``no_such_entry``; ``bad_correction``: a record breaks a rule, and nothing was changed; ``settled``:
                somebody else fixed or accepted the entry in another way.
        """
        found = await self._entries(Selection(ids=tuple(contents), with_superseded=True))
        _require_known(contents, found)
        attempts: list[Attempt] = []
        for entries in _by_delivery(found):
            open_entries = [one for one in entries if one.state == "open"]
            attempts.append(await read_fixed(await self._as_read(entries[0]), open_entries, contents))
        report = Report()
        for entries, attempt in zip(_by_delivery(found), attempts, strict=True):
            _note_settled(report, [one for one in entries if one.state != "open"], contents)
            await self._make(attempt, report, by=by, plan=plan)
        await self._tell(report, plan=plan)
        return report

    async def accept(self, selection: Selection, *, by: Signature, plan: bool = False) -> Report:
        """Leave the selected records out on purpose; those that were accepted before stay so.

        Raises:
            Rejected: rule ``no_such_entry``; ``settled``: one of the entries named was fixed.
        """
        found = await self._entries(selection)
        if selection.ids is not None:
            _require_known(selection.ids, found)
        report = Report()
        for entries in _by_delivery(found):
            async with self.quarantine.repair(entries[0].delivery_id, plan=plan) as locked:
                await self._accept(locked, entries, report, by=by, are_named=selection.ids is not None)
        await self._tell(report, plan=plan)
        return report

    async def replay(self, selection: Selection, *, by: Signature, plan: bool = False) -> Report:
        """Read the selected records again as the tenant's contract and this program read them now.

        What still breaks a rule stays in quarantine. Copies of one natural key are judged together.

        Raises:
            Rejected: rule ``no_such_entry``; ``other_encoding``: the whole file has to be read again.
        """
        found = await self._entries(selection)
        if selection.ids is not None:
            _require_known(selection.ids, found)
        report = Report()
        for entries in _by_delivery(found):
            report.outcomes += [_unchanged(one) for one in entries if one.state != "open"]
            wanted = [one for one in entries if one.state == "open"]
            if wanted:
                copies = await self._entries(Selection(delivery_id=entries[0].delivery_id, rule=DUPLICATE, with_superseded=True))
                attempt = await read_replayed(await self._anew(wanted[0]), await self._as_read(wanted[0]), wanted, copies=copies)
                await self._make(attempt, report, by=by, plan=plan)
        await self._tell(report, plan=plan)
        return report

    async def _entries(self, selection: Selection) -> list[Entry]:
        found = await self.quarantine.entries(selection, limit=MAX_ENTRIES + 1)
        if len(found) > MAX_ENTRIES:
            message = f"More than {MAX_ENTRIES:,} entries: name an entity or a rule, or let the sender correct the file."
            raise Rejected(message, rule="too_many_entries")
        return found

    async def _as_read(self, entry: Entry) -> RecordsAgain:
        subject = await self.quarantine.delivery(entry.delivery_id)
        contract = await self.contracts.version(entry.tenant, subject.delivery.contract_version)
        return RecordsAgain(subject, contract, self.objects, subject.delivery.contract_version)

    async def _anew(self, entry: Entry) -> RecordsAgain:
        subject = await self.quarantine.delivery(entry.delivery_id)
        number, contract = await self.contracts.current(entry.tenant)
        return RecordsAgain(subject, contract, self.objects, number)

    async def _make(self, attempt: Attempt, report: Report, *, by: Signature, plan: bool) -> None:
        """Do what was attempted under the delivery's lock; where a row stands in the file is looked up outside of it."""
        if not attempt.entries:
            return
        while True:
            async with self.quarantine.repair(attempt.delivery_id, plan=plan) as locked:
                await _require_open(locked, attempt.entries)
                repair = await attempt.judged(locked)
                if isinstance(repair, AttemptedRepair):
                    await self._apply(locked, attempt, repair, report, by=by)
                    return
            await attempt.locate(repair)

    async def _apply(
        self, locked: LockedRepair, attempt: Attempt, repair: AttemptedRepair, report: Report, *, by: Signature
    ) -> None:
        if attempt.action == "fix" and repair.left:
            raise _bad_correction(attempt, repair.left)
        if repair.changes.entries:
            report.editions[attempt.entries[0].set_key] = await locked.apply(repair.changes, by=by)
        changed = {one.entry.quarantine_id: one for one in repair.changes.entries}
        for one in attempt.entries:
            if change := changed.get(one.quarantine_id):
                report.outcomes.append(Outcome(entry=one, result="fixed" if change.persisted_count else "duplicate"))
            elif one.quarantine_id in attempt.selected:
                report.outcomes.append(Outcome(entry=one, result="left", message=repair.left[one.quarantine_id]))

    async def _accept(
        self, locked: LockedRepair, entries: Sequence[Entry], report: Report, *, by: Signature, are_named: bool
    ) -> None:
        now = await locked.entries([one.quarantine_id for one in entries])
        fixed = [one for one in now.values() if one.state == "fixed"]
        if fixed and are_named:
            raise _settled(fixed[0])
        report.outcomes += [_unchanged(one) for one in now.values() if one.state != "open"]
        wanted = [one for one in now.values() if one.state == "open"]
        if wanted:
            accepted = [EntryChange(entry=one, state="accepted", accepted_count=one.record_count) for one in wanted]
            edition = await locked.apply(Changes(entries=accepted, action="accept"), by=by)
            report.editions[entries[0].set_key] = edition
            report.outcomes += [Outcome(entry=one, result="accepted") for one in wanted]

    async def _tell(self, report: Report, *, plan: bool) -> None:
        for key, edition in report.editions.items() if not plan else ():
            fact = EditionRaised(tenant=key.tenant, business_date=key.business_date, edition=edition)
            logger.info("set repaired", extra={"tenant": key.tenant, "business_date": str(key.business_date), "edition": edition})
            await self.sender.send("progress", key=fact.key, value=fact.encode())


def _by_delivery(entries: Sequence[Entry]) -> list[list[Entry]]:
    in_turn = sorted(entries, key=lambda one: (one.delivery_id, one.place))
    return [list(group) for _, group in groupby(in_turn, key=lambda one: one.delivery_id)]


def _require_known(ids: Mapping[int, bytes] | Sequence[int], found: Sequence[Entry]) -> None:
    missing = sorted(set(ids) - {one.quarantine_id for one in found})
    if missing:
        named = ", ".join(map(str, missing[:10]))
        raise Rejected(f"There is no entry {named} in the quarantine.", rule="no_such_entry")


async def _require_open(locked: LockedRepair, expected: Sequence[Entry]) -> None:
    now = await locked.entries([one.quarantine_id for one in expected])
    for one in expected:
        found = now.get(one.quarantine_id)
        if found is None or found.state != "open":
            raise _settled(found or one)


def _note_settled(report: Report, settled: Sequence[Entry], contents: Mapping[int, bytes]) -> None:
    for one in settled:
        if one.state != "fixed" or one.content != contents[one.quarantine_id]:
            raise _settled(one)
        report.outcomes.append(_unchanged(one))


def _unchanged(entry: Entry) -> Outcome:
    return Outcome(entry=entry, result="unchanged", message=f"{entry.state} by {entry.settled}")


def _settled(entry: Entry) -> Rejected:
    message = (
        f"Entry {entry.quarantine_id} ({entry.entity}, line {entry.line}) is {entry.state} by {entry.settled}: "
        f"nothing was changed; `dataharvest quarantine history {entry.quarantine_id}` has the whole story."
    )
    return Rejected(message, rule="settled")


def _bad_correction(attempt: Attempt, left: Mapping[int, str]) -> Rejected:
    said = [f"entry {one.quarantine_id}: {left[one.quarantine_id]}" for one in attempt.entries if one.quarantine_id in left]
    more = f"; and {len(said) - 10} more" if len(said) > 10 else ""  # noqa: PLR2004
    return Rejected(f"Nothing was changed: {'; '.join(said[:10])}{more}", rule="bad_correction")
