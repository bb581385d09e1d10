"""What the contract's rule removes from a delivery: rows, with their counts and sums, and what is said of them."""

from dataclasses import dataclass, field
from typing import Any

from dataharvest.adapters.postgres.chunks import copy_all_quarantined, copy_rows_into
from dataharvest.adapters.postgres.judgement_copies import CopyQueries
from dataharvest.rules.duplicates import LISTED_COPIES, Copy, further_copies, quarantined_copy
from dataharvest.rules.records import QuarantinedRecord

_READINGS_AT_ONCE = 16
"""Chunks whose rows are stored anew together: as much memory as they have bytes."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What is known of all rows of a delivery."""

    count: int
    sums: dict[str, str]
    """Exact, of the columns of money."""
    blocks: tuple[int | None, int | None]
    """The first and the last block of the table that may hold rows of it."""


@dataclass
class _Named:
    """The first copies of the listed keys, never more than are named, however many a file has."""

    counts: dict[str, int]
    """Records of each key."""
    copies: dict[int, list[Copy]] = field(default_factory=dict)
    """By chunk."""
    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, index: int, copy: Copy) -> None:
        """Take in the next one of the file."""
        self.lines.setdefault(copy.natural_key, []).append(copy.line)
        self.copies.setdefault(index, []).append(copy)


class CopyRemoval:
    """Removes what was judged to go, in the transaction that completes the delivery."""

    def __init__(self, run: CopyQueries, tenant: str) -> None:
        self._run = run
        self._tenant = tenant

    async def apply(self, before: Counted) -> Counted:
        """Remove what the rule removes, quarantine what could not be settled; returns what is known of the rows left."""
        await self._run.set("room", "by_hash")
        await self._run.execute("settle")
        await self._run.execute("quarantine_unsettled")
        stored = await self._store_anew()
        await self._name()
        await self._run.set("by_place")
        removed = await self._run.fetchrow("delete_rows")
        await self._run.set("any_plan", "by_hash")
        await self._run.execute("count_in_chunks")
        await self._run.set("any_plan")
        return await self._left_over(before, removed, stored)

    async def _store_anew(self) -> Any:
        """One of several copies in one chunk: nobody knows which row it is, so all of them go, and it comes again."""
        indexes = [row["chunk_index"] for row in await self._run.fetch("stored_anew")]
        if not indexes:
            return None
        await self._run.connection.execute(self._run.query("make_stored_anew"))
        for start in range(0, len(indexes), _READINGS_AT_ONCE):
            rows = await self._run.fetch("readings", indexes[start : start + _READINGS_AT_ONCE])
            where = self._run.connection, "stored_anew", self._run.delivery_id
            for row in rows:
                await copy_rows_into(*where, columns=row["copy_columns"], text=row["copy_text"])
        return await self._run.connection.fetchrow(self._run.query("store_anew"))

    async def _name(self) -> None:
        named = _Named({row["natural_key"]: row["record_count"] for row in await self._run.fetch("listed_keys")})
        for row in await self._run.fetch("named", LISTED_COPIES):
            index, key, position, line, byte_offset, raw, byte_length = row
            named.add(index, Copy(key, position, line, byte_offset, raw, byte_length))
        await self._quarantine(named)
        for key, count in named.counts.items():
            await self._run.execute("add_key", self._tenant, key, count, named.lines.get(key, []))

    async def _quarantine(self, named: _Named) -> None:
        keys = {row["natural_key"] for row in await self._run.fetch("quarantined_keys")}
        found: dict[int, list[QuarantinedRecord]] = {}
        for row in await self._run.fetch("quarantined_in_chunks"):
            copies = [one for one in named.copies.get(row["chunk_index"], ()) if one.natural_key in keys]
            # The rows are what counts: whatever was read again, no more are quarantined than were stored.
            entries = [self._entry(one, named) for one in copies[: row["record_count"]]]
            if (further := row["record_count"] - len(entries)) > 0:
                place = {name: row[name] for name in ("first_line", "byte_offset", "byte_length")}
                entries.append(further_copies(further, column=self._run.entity.natural_key, **place))
            found[row["chunk_index"]] = entries
        await copy_all_quarantined(self._run.connection, self._run.delivery_id, self._tenant, found)

    def _entry(self, copy: Copy, named: _Named) -> QuarantinedRecord:
        key = copy.natural_key
        column = self._run.entity.natural_key
        return quarantined_copy(copy, column=column, record_count=named.counts[key], lines=named.lines[key])

    async def _left_over(self, before: Counted, removed: Any, stored: Any) -> Counted:
        count = before.count - removed["count"] + (stored["count"] if stored else 0)
        changes = removed["sums"], stored["sums"] if stored else {}
        query = self._run.query("left_over")
        sums = await self._run.connection.fetchval(query, before.sums, *changes, count)
        places = [stored["first_place"][0], stored["last_place"][0]] if stored else []
        blocks = [one for one in (*before.blocks, *places) if one is not None]
        # Where rows went at the edges the blocks between which they lie may be fewer; more are looked at, none is left out.
        return Counted(count=count, sums=sums, blocks=(min(blocks, default=None), max(blocks, default=None)))
