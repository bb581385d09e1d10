"""Read repaired: which records of the quarantine would be rows now."""

from collections.abc import Collection, Mapping, Sequence

from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.quarantine import Entry
from dataharvest.rules.repairs import Place
from dataharvest.stages.attempt import Attempt
from dataharvest.stages.records_again import RecordsAgain, missing_source


async def read_fixed(as_read: RecordsAgain, entries: Sequence[Entry], contents: Mapping[int, bytes]) -> Attempt:
    """The entries as the records given for them.

    Raises:
        Rejected: the file's header can't be read any more.
    """
    selected = {one.quarantine_id for one in entries}
    attempt = Attempt(action="fix", reading=as_read, as_read=as_read, entries=list(entries), selected=selected)
    for one in entries:
        content = contents[one.quarantine_id]
        if one.stands_for_many:
            attempt.left[one.quarantine_id] = f"it stands for {one.record_count:,} records: accept it, or correct the file"
            continue
        try:
            attempt.add(one, await as_read.check(content + b"\n"), content)
        except ObjectTrouble as trouble:
            raise missing_source(trouble, one) from trouble
    return attempt


async def read_replayed(
    anew: RecordsAgain, as_read: RecordsAgain, entries: Sequence[Entry], *, copies: Sequence[Entry]
) -> Attempt:
    """The entries as they are read now, with the copies that have to be judged with them.

    Args:
        anew: how records are read now.
        as_read: how they were read when the file arrived.
        entries: open entries of one delivery.
        copies: every entry of that delivery whose natural key occurred more than once, whatever became of it.

    Raises:
        Rejected: rule ``other_encoding``, or the file's header is none under the contract.
    """
    if anew.contract.encoding != as_read.contract.encoding:
        message = f"The contract says {anew.contract.encoding} now: the whole file has to be read again, so upload it again."
        raise Rejected(message, rule="other_encoding")
    selected = {one.quarantine_id for one in entries}
    judged_too = [one for one in copies if one.state == "open" and one.quarantine_id not in selected]
    attempt = Attempt(action="replay", reading=anew, as_read=as_read, entries=[*entries, *judged_too], selected=selected)
    for one in attempt.entries:
        try:
            if one.stands_for_many:
                await _read_copies(attempt, one, listed={other.place for other in copies})
            else:
                content = await anew.content_of(one)
                attempt.add(one, await anew.check(content + b"\n"), content)
        except ObjectTrouble as trouble:
            attempt.left[one.quarantine_id] = missing_source(trouble, one).message
        except Rejected as reason:
            attempt.left[one.quarantine_id] = reason.message
    return attempt


async def _read_copies(attempt: Attempt, entry: Entry, *, listed: Collection[Place]) -> None:
    if attempt.reading.contract.duplicate_rule(attempt.entity.name) == "reject":
        attempt.left[entry.quarantine_id] = f"it stands for {entry.record_count:,} records, and the contract rejects duplicates"
        return
    async for place, copies in attempt.as_read.copies({entry.chunk_index}):
        for one in copies:
            if Place(place.index, one.position) not in listed:
                attempt.add_further(entry, one, await attempt.reading.check(one.raw + b"\n"))
