"""Where `dataharvest quarantine fix` takes corrected records from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dataharvest.ports import Quarantine
    from dataharvest.quarantine import Entry, Selection
    from dataharvest.quarantine_csv import Correction

_EDITED_ENTRIES = 1_000


@dataclass(frozen=True)
class Source:
    """What was typed."""

    quarantine_id: int | None
    record: str | None
    record_file: Path | None
    as_is: bool
    file: Path | None
    edit: bool
    selection: "Selection"

    def require_one(self) -> None:
        """Raise UsageError unless there is one source, and what goes with it."""
        of_one = (self.record is not None) + (self.record_file is not None) + self.as_is
        of_many = (self.file is not None) + self.edit
        if of_one + of_many != 1:
            raise click.UsageError("Give the correction by one of --record, --record-file, --as-is, --file and --edit.")
        if of_one and self.quarantine_id is None:
            raise click.UsageError("Which entry? Give its ID.")
        if self.file and self.quarantine_id is not None:
            raise click.UsageError("The CSV says which entries: give no ID with --file.")
        if self.edit and self.quarantine_id is None and not (self.selection.tenant and self.selection.business_date):
            raise click.UsageError("Which entries? Give an ID, or --tenant and --date at least.")


async def given_contents(source: Source, quarantine: "Quarantine") -> dict[int, bytes]:
    """What each entry is to be read as; entries that nobody changed are left out.

    Raises:
        Rejected: rule ``corrections`` or ``unknown_escape``: what was given can't be read; ``no_such_entry``.
    """
    from dataharvest.quarantine_csv import read_corrections

    if source.file:
        return await _changed(read_corrections(source.file.read_bytes()), quarantine)
    if source.edit:
        return await _changed(await _edited(source, quarantine), quarantine)
    assert source.quarantine_id is not None
    return {source.quarantine_id: await _given(source, quarantine)}


async def _given(source: Source, quarantine: "Quarantine") -> bytes:
    from dataharvest.rules.record_text import record_bytes

    if source.record is not None:
        return record_bytes(source.record)
    if source.record_file:
        return source.record_file.read_bytes().rstrip(b"\r\n")
    from dataharvest.errors import Rejected
    from dataharvest.quarantine import Selection

    found = await quarantine.entries(Selection(ids=(source.quarantine_id or 0,), with_superseded=True))
    if not found:
        raise Rejected(f"There is no entry {source.quarantine_id} in the quarantine.", rule="no_such_entry")
    return found[0].raw


async def _changed(corrections: "list[Correction]", quarantine: "Quarantine") -> dict[int, bytes]:
    from dataharvest.quarantine import Selection

    ids = tuple(one.quarantine_id for one in corrections)
    known = {one.quarantine_id: one for one in await quarantine.entries(Selection(ids=ids, with_superseded=True))}
    return {number: content for number, content in corrections if content and not _is_as_it_was(known.get(number), content)}


def _is_as_it_was(entry: "Entry | None", content: bytes) -> bool:
    return entry is not None and content == entry.raw


async def _edited(source: Source, quarantine: "Quarantine") -> "list[Correction]":
    from dataclasses import replace

    from dataharvest.quarantine_csv import quarantine_csv, read_corrections

    ids = None if source.quarantine_id is None else (source.quarantine_id,)
    entries = await quarantine.entries(replace(source.selection, ids=ids, state="open"), limit=_EDITED_ENTRIES + 1)
    if not entries:
        raise click.UsageError("No open entry is selected.")
    if len(entries) > _EDITED_ENTRIES:
        raise click.UsageError(f"More than {_EDITED_ENTRIES:,} entries: name an entity or a rule, or use `list --csv`.")
    edited = click.edit(quarantine_csv(entries), extension=".csv", require_save=False)
    return read_corrections((edited or "").encode()) if edited else []
