"""Repair: records leave the quarantine as rows or for good, and their set goes on by itself."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dataharvest.errors import Rejected, Unavailable
from dataharvest.messages import EditionRaised
from dataharvest.objects import ObjectStore
from dataharvest.ports import Contracts, LockedRepair, Quarantine, Sender
from dataharvest.quarantine import DUPLICATE, Entry, Selection, Signature
from dataharvest.repairs import Changes, EntryChange
from dataharvest.stages.attempt import Attempt, AttemptedRepair
from dataharvest.stages.read_repaired import read_fixed, read_replayed
from dataharvest.stages.records_again import RecordsAgain
from dataharvest.stages.repair_report import (
    Outcome,
    Report,
    bad_correction,
    by_delivery,
    refusals,
    require_known,
    require_open,
    settled_already,
    unchanged,
    unchanged_fixes,
)

logger = logging.getLogger(__name__)

MAX_ENTRIES = 10_000
"""Entries of one command: of more the sender should correct the file."""


@dataclass(kw_only=True)
class Repairs:
    """Fixes, accepts and replays; with ``plan`` each says what it would do and changes nothing.

    A delivery's entries change together or not at all. Where entries of several deliveries are meant, one that can't be changed
    keeps no other from it. Every method raises Rejected when nothing at all can be done, with the reason, and Unavailable when
    PostgreSQL or the object store is not there; the same call may then succeed later.
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
        require_known(contents, found)
        attempts: list[Attempt] = []
        for entries in by_delivery(found):
            open_entries = [one for one in entries if one.state == "open"]
            attempts.append(await read_fixed(await self._as_read(entries[0]), open_entries, contents))
        report = Report()
        for entries, attempt in zip(by_delivery(found), attempts, strict=True):
            with refusals(report, is_only_one=len(attempts) == 1):
                same = unchanged_fixes([one for one in entries if one.state != "open"], contents)
                await self._make(attempt, report, by=by, plan=plan)
                report.outcomes += same
        return await self._told(report, plan=plan)

    async def accept(self, selection: Selection, *, by: Signature, plan: bool = False) -> Report:
        """Leave the selected records out on purpose; those that were accepted before stay so.

        Raises:
            Rejected: rule ``no_such_entry``; ``settled``: one of the entries named was fixed.
        """
        found = await self._selected(selection)
        report, deliveries = await self._begun(selection, found), by_delivery(found)
        for entries in deliveries:
            with refusals(report, is_only_one=len(deliveries) == 1):
                async with self.quarantine.repair(entries[0].delivery_id, plan=plan) as locked:
                    await self._accept(locked, entries, report, by=by, are_named=selection.ids is not None)
        return await self._told(report, plan=plan)

    async def replay(self, selection: Selection, *, by: Signature, plan: bool = False) -> Report:
        """Read the selected records again as the tenant's contract and this program read them now.

        What still breaks a rule stays in quarantine. Copies of one natural key are judged together.

        Raises:
            Rejected: rule ``no_such_entry``; ``other_encoding``: the whole file has to be read again.
        """
        found = await self._selected(selection)
        report, deliveries = await self._begun(selection, found), by_delivery(found)
        for entries in deliveries:
            with refusals(report, is_only_one=len(deliveries) == 1):
                report.outcomes += [unchanged(one) for one in entries if one.state != "open"]
                if wanted := [one for one in entries if one.state == "open"]:
                    await self._make(await self._replayed(wanted), report, by=by, plan=plan)
        return await self._told(report, plan=plan)

    async def _replayed(self, wanted: Sequence[Entry]) -> Attempt:
        copies = await self._entries(Selection(delivery_id=wanted[0].delivery_id, rule=DUPLICATE, with_superseded=True))
        return await read_replayed(await self._anew(wanted[0]), await self._as_read(wanted[0]), wanted, copies=copies)

    async def _selected(self, selection: Selection) -> list[Entry]:
        found = await self._entries(selection)
        if selection.ids is not None:
            require_known(selection.ids, found)
        return found

    async def _begun(self, selection: Selection, found: Sequence[Entry]) -> Report:
        """A report of nothing yet; where nothing open is left, of what somebody else has made of the records meanwhile."""
        if found or selection.state is None:
            return Report()
        settled = await self.quarantine.entries(replace(selection, state=None), limit=MAX_ENTRIES)
        return Report(outcomes=[unchanged(one) for one in settled if one.state != "open"])

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
                await require_open(locked, attempt.entries)
                repair = await attempt.judged(locked)
                if isinstance(repair, AttemptedRepair):
                    await self._apply(locked, attempt, repair, report, by=by)
                    return
            await attempt.locate(repair)

    async def _apply(
        self, locked: LockedRepair, attempt: Attempt, repair: AttemptedRepair, report: Report, *, by: Signature
    ) -> None:
        if attempt.action == "fix" and repair.left:
            raise bad_correction(attempt, repair.left)
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
            raise settled_already(fixed[0])
        report.outcomes += [unchanged(one) for one in now.values() if one.state != "open"]
        wanted = [one for one in now.values() if one.state == "open"]
        if wanted:
            accepted = [EntryChange(entry=one, state="accepted", accepted_count=one.record_count) for one in wanted]
            edition = await locked.apply(Changes(entries=accepted, action="accept"), by=by)
            report.editions[entries[0].set_key] = edition
            report.outcomes += [Outcome(entry=one, result="accepted") for one in wanted]

    async def _told(self, report: Report, *, plan: bool) -> Report:
        for key, edition in report.editions.items() if not plan else ():
            fact = EditionRaised(tenant=key.tenant, business_date=key.business_date, edition=edition)
            logger.info("set repaired", extra={"tenant": key.tenant, "business_date": str(key.business_date), "edition": edition})
            try:
                await self.sender.send("progress", key=fact.key, value=fact.encode())
            except Unavailable as outage:
                # It is stored, and only the hint is missing.
                logger.warning("set repaired, nobody told", extra={"tenant": key.tenant, "reason": outage.message})
                report.is_told = False
        return report
