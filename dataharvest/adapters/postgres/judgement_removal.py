"""What the contract's rule removes from a delivery: rows, with their counts and sums, and what is said of them."""

from dataclasses import dataclass, field, replace
from typing import Any

from dataharvest.adapters.postgres.chunks import copy_all_quarantined, copy_rows_into
from dataharvest.adapters.postgres.judgement_copies import CopyQueries, rows_without_chunk
from dataharvest.adapters.postgres.judgement_decision import Counted, Decision
from dataharvest.rules.duplicates import LISTED_COPIES, Copy, further_copies, quarantined_copy
from dataharvest.rules.records import QuarantinedRecord
from dataharvest.rules.tiling import ConservationBroken
from dataharvest.sql import queries

_LEFT_OVER = queries("judgement_copies")["left_over"]
_READINGS_AT_ONCE = 16
"""Chunks whose rows are stored anew together: as much memory as they have bytes."""
_LAST_CHUNK = (1 << 31) - 2
"""No chunk has a larger number."""


class _RowsMoved(Exception):
    """Rows are not where they were found; what was removed of them is taken back."""


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
    """Removes what was decided to go, so many copies in one step, whole chunks of them.

    A step's transaction holds all that belongs to its chunks: rows, rows stored anew, counts, sums, entries in quarantine. What
    it has done is known from tables that are logged, so it is neither done twice nor forgotten, whatever ends.
    """

    def __init__(self, run: CopyQueries, tenant: str, *, at_once: int) -> None:
        self._run = run
        self._tenant = tenant
        self._at_once = at_once

    async def remove_next(self, decision: Decision) -> tuple[Decision, bool]:
        """Settle the copies in the next chunks; how far it has come then, and whether all are settled.

        Raises:
            ConservationBroken: some of the copies are not there.
            Rejected: it cannot be told any more which chunk a row came from.
        """
        start = decision.next_chunk or 0
        await self._run.set("any_plan", "room", "by_place")
        last = await self._run.fetchval("next_portion", start, self._at_once)
        stop = _LAST_CHUNK if last is None else last
        if (removed := await self._remove(start, stop, left=decision.left)) is None:
            return decision, False
        await self._run.set("any_plan")
        stored = await self._store_anew(start, stop)
        await self._count_in_chunks(removed["chunks"])
        left = await self._left_over(decision.left, removed, stored)
        settled = decision.settled_count + removed["settled_count"]
        counts = [sum(one[name] for one in removed["chunks"]) for name in ("quarantined", "dropped")]
        kept = left.count, left.sums, *left.blocks
        await self._run.execute("note_settled", stop + 1, removed["settled_count"], *kept, *counts)
        is_done = last is None and await self._run.fetchval("forget_keys", 2 * self._at_once) < 2 * self._at_once
        if is_done:
            await self._run.execute("note_all_settled")
        done = replace(decision, next_chunk=stop + 1, settled_count=settled, left=left, are_copies_settled=is_done)
        return done, is_done

    async def conclude(self, decision: Decision) -> None:
        """Say which keys occurred more than once, once all is removed.

        Raises:
            ConservationBroken: some of the copies were not settled, because somebody has lost them.
        """
        if decision.settled_count != decision.copy_count:
            raise ConservationBroken(f"{decision.settled_count} copies were settled, {decision.copy_count} were found")
        named = await self._named()
        for key, count in named.counts.items():
            await self._run.execute("add_key", self._tenant, key, count, named.lines.get(key, []))

    async def _remove(self, start: int, stop: int, *, left: Counted) -> Any | None:
        """What was removed; None when rows have moved, and are to be removed from where they are now."""
        try:
            async with self._run.connection.transaction():
                removed = await self._run.fetchrow("remove", start, stop)
                if removed["count"] != removed["wanted_count"]:
                    raise _RowsMoved
                return removed
        except _RowsMoved:
            await self._find_places_anew(left)
            return None

    async def _find_places_anew(self, left: Counted) -> None:
        await self._run.set("any_plan", "room", "by_hash")
        found, kept = await self._run.fetchval("find_places_anew"), await self._run.fetchval("count")
        if found == kept:
            return
        if await self._run.fetchval("count_rows") == left.count:
            raise rows_without_chunk()
        raise ConservationBroken(f"of the copies {found} rows are there, {kept} were found before")

    async def _store_anew(self, start: int, stop: int) -> Any:
        """One of several copies in one chunk: nobody knows which row it is, so all of them go, and it comes again."""
        indexes = [row["chunk_index"] for row in await self._run.fetch("stored_anew", start, stop)]
        stored = None
        if indexes:
            await self._run.connection.execute(self._run.query("make_stored_anew"))
            for first in range(0, len(indexes), _READINGS_AT_ONCE):
                for row in await self._run.fetch("readings", indexes[first : first + _READINGS_AT_ONCE]):
                    where = self._run.connection, "stored_anew", self._run.delivery_id
                    await copy_rows_into(*where, columns=row["copy_columns"], text=row["copy_text"])
            stored = await self._run.connection.fetchrow(self._run.query("store_anew"))
        await self._run.execute("forget_readings", start, stop)
        return stored

    async def _named(self) -> _Named:
        named = _Named({row["natural_key"]: row["record_count"] for row in await self._run.fetch("listed_keys")})
        for row in await self._run.fetch("named", LISTED_COPIES):
            index, key, position, line, byte_offset, raw, byte_length = row
            named.add(index, Copy(key, position, line, byte_offset, raw, byte_length))
        return named

    async def _count_in_chunks(self, chunks: list[dict[str, Any]]) -> None:
        places = await self._run.fetch("count_in_chunks", chunks)
        of_chunk = {place["chunk_index"]: place for place in places}
        held = [{**one, **of_chunk[one["chunk_index"]]} for one in chunks if one["quarantined"]]
        if held:
            await self._quarantine(held, await self._named())

    async def _quarantine(self, chunks: list[dict[str, Any]], named: _Named) -> None:
        found: dict[int, list[QuarantinedRecord]] = {}
        for one in chunks:
            keys = set(one["listed"])
            copies = [copy for copy in named.copies.get(one["chunk_index"], ()) if copy.natural_key in keys]
            # The rows are what counts: whatever was read again, no more are quarantined than were stored.
            entries = [self._entry(copy, named) for copy in copies[: one["quarantined"]]]
            if (further := one["quarantined"] - len(entries)) > 0:
                place = {name: one[name] for name in ("first_line", "byte_offset", "byte_length")}
                entries.append(further_copies(further, column=self._run.entity.natural_key, **place))
            found[one["chunk_index"]] = entries
        await copy_all_quarantined(self._run.connection, self._run.delivery_id, self._tenant, found)

    def _entry(self, copy: Copy, named: _Named) -> QuarantinedRecord:
        key = copy.natural_key
        column = self._run.entity.natural_key
        return quarantined_copy(copy, column=column, record_count=named.counts[key], lines=named.lines[key])

    async def _left_over(self, before: Counted, removed: Any, stored: Any) -> Counted:
        count = before.count - removed["count"] + (stored["count"] if stored else 0)
        changes = removed["sums"], stored["sums"] if stored else {}
        sums = await self._run.connection.fetchval(_LEFT_OVER, before.sums, *changes, count)
        places = [stored["first_place"][0], stored["last_place"][0]] if stored else []
        blocks = [one for one in (*before.blocks, *places) if one is not None]
        # Where rows went at the edges the blocks between which they lie may be fewer; more are looked at, none is left out.
        return Counted(count=count, sums=sums, blocks=(min(blocks, default=None), max(blocks, default=None)))
