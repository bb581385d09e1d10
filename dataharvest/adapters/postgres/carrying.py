"""A version beside its base in PostgreSQL: which rows, and whose values, are the same in both."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.entities import all_entities
from dataharvest.outbound import OutboundMessage
from dataharvest.rules.carrying import CHANGED_AT_MOST, COMPARED_AT_MOST, is_comparable, is_from_links
from dataharvest.sql import queries

_SQL = queries("carrying")


class BesideBase:
    """A version and its base, in one transaction; a delivery keeps its rows as long as a version needs them."""

    def __init__(self, connection: Connection, row: Mapping[str, Any]) -> None:
        self._connection = connection
        self._version, self._base = row["set_version_id"], row["base_version_id"]
        self._new: Mapping[str, int] = row["deliveries"] or {}
        self._old: Mapping[str, int] = row["base_deliveries"] or {}
        self._counts: Mapping[str, int] = row["record_counts"] or {}
        self.carried = frozenset(row["carried"])
        self._has_same: dict[tuple[str, frozenset[str]], bool] = {}

    def has_same_file(self, entity: str) -> bool:
        """See the port."""
        return self._new.get(entity) == self._old.get(entity)

    def may_be_same(self, entity: str) -> bool:
        """See the port."""
        if self.has_same_file(entity):
            return True
        if entity not in self._new or entity not in self._old or not self._is_comparable(entity):
            return False
        return self._counts[str(self._new[entity])] == self._counts[str(self._old[entity])]

    async def has_same(self, entity: str, columns: Sequence[str]) -> bool:
        """See the port."""
        if self.has_same_file(entity):
            return True
        if not self.may_be_same(entity):
            return False
        wanted = entity, frozenset(columns)
        if wanted not in self._has_same:
            query = _filled("has_same", columns=", ".join(dict.fromkeys(columns)), table=all_entities()[entity].table)
            self._has_same[wanted] = await self._connection.fetchval(query, self._new[entity], self._old[entity])
        return self._has_same[wanted]

    async def base_made_by(self, rule: str) -> str | None:
        """See the port."""
        made_by: str | None = await self._connection.fetchval(_SQL["made_by"], self._base, rule)
        return made_by

    async def changed_references(self, outbound: OutboundMessage) -> tuple[str, ...] | None:
        """See the port."""
        if not all(self._is_comparable(entity) for entity in self._differing(outbound)):
            return None
        changes = [*self._changed_rows(outbound), *self._changed_values(outbound)]
        if not changes:
            return ()
        query = _filled("at_most", changes="\nUNION ALL\n".join(changes))
        rows = await self._connection.fetch(query, CHANGED_AT_MOST + 1)
        return None if len(rows) > CHANGED_AT_MOST else tuple(sorted(str(row["reference"]) for row in rows))

    def _is_comparable(self, entity: str) -> bool:
        deliveries = [found[entity] for found in (self._new, self._old) if entity in found]
        return is_comparable(all_entities()[entity]) and all(self._counts[str(one)] <= COMPARED_AT_MOST for one in deliveries)

    def _differing(self, outbound: OutboundMessage) -> Iterator[str]:
        for entity, columns in outbound.reads.items():
            if not is_from_links(entity, columns) and not self.has_same_file(entity):
                yield entity

    def _changed_rows(self, outbound: OutboundMessage) -> Iterator[str]:
        own = f"{outbound.per}_reference"
        for entity in self._differing(outbound):
            linked = all_entities()[entity].linked
            same = " AND ".join(f"l.{name} = r.{name}" for name in linked)
            yield _filled(
                "changed_rows",
                reference=f"r.{own}" if own in linked else f"l.{own}",
                columns=", ".join(dict.fromkeys([*linked, *outbound.reads[entity]])),
                table=all_entities()[entity].table,
                new=self._new.get(entity, 0),
                old=self._old.get(entity, 0),
                link="" if own in linked else _filled("link_of_row", version=self._version, same=same),
            )

    def _changed_values(self, outbound: OutboundMessage) -> Iterator[str]:
        for transformer in outbound.takes:
            if f"{transformer}.values" not in self.carried:
                yield _filled("changed_values", version=self._version, base=self._base, transformer=transformer)


def _filled(name: str, **words: object) -> str:
    query = _SQL[name]
    for word, text in words.items():
        query = query.replace(f"{{{word}}}", str(text))
    return query
