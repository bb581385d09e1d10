"""The sets of a board: which there are, and those of which it is not plain that they are published."""

from collections.abc import Collection, Sequence
from datetime import date
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.contracts import newest_contracts
from dataharvest.deliveries import SetKey
from dataharvest.sql import queries

_SQL = queries("status")
_VERSIONS_KEPT = 100_000
"""Versions of which it is kept what they are made of, at about five hundred bytes each."""


NewestVersion: TypeAlias = tuple[int, int, int, bool, bool]
"""A set: days since the oldest date of the board, number of its newest version or 0, that version's id, whether it was late, and
whether it is out: published, and neither an edition nor a problem has come since. Without names, for there are ten thousand."""


class TenantSets(NamedTuple):
    """A tenant's sets, each at the place of its date."""

    tenant: str
    sets: list[NewestVersion | None]


class BoardSets:
    """Reads them; what a version is made of is read once, for that never changes."""

    def __init__(self, required: Collection[str]) -> None:
        self._required = frozenset(required)
        self._entities: dict[int, frozenset[str]] = {}
        self._in_versions: set[int] = set()
        """Deliveries of these versions."""

    async def read(self, connection: Connection, dates: Sequence[date], *, part_of_tenant: str) -> list[TenantSets]:
        """The sets of these dates, the newest first, of every tenant whose name has that part, in order of the name."""
        rows = await connection.fetch(_SQL["board_sets"], dates[-1], dates[0], part_of_tenant)
        places = {(day - dates[-1]).days: place for place, day in enumerate(dates)}
        return [TenantSets(tenant, _newest(columns, places)) for tenant, *columns in rows]

    async def open_ones(
        self, connection: Connection, found: Sequence[TenantSets], dates: Sequence[date], *, part_of_tenant: str
    ) -> list[SetKey]:
        """The sets of which the rule has to be asked.

        They are not out; or have a delivery that is on its way, may have records in quarantine, or is in no version; or their
        contract has come to require more.
        """
        contracts = await newest_contracts(connection, {one.tenant for one in found})
        await self._learn(connection, [each[2] for one in found for each in one.sets if each and each[4]])
        [(clean, others)] = await connection.fetch(_SQL["board_counting"], dates[-1], dates[0], part_of_tenant)
        moving = [*others, *set(clean).difference(self._in_versions)]
        touched = set(map(tuple, await connection.fetch(_SQL["sets_of_deliveries"], moving)))
        wanted = []
        for tenant, sets in found:
            required = frozenset(contracts[tenant].required) if tenant in contracts else self._required
            for day, each in zip(dates, sets, strict=True):
                if each is None:
                    continue
                _, _, version_id, _, is_out = each
                if not is_out or (tenant, day) in touched or not required <= self._entities.get(version_id, frozenset()):
                    wanted.append(SetKey(tenant, day))
        return wanted

    async def _learn(self, connection: Connection, versions: Sequence[int]) -> None:
        if len(self._entities) > _VERSIONS_KEPT:
            self._entities.clear()
            self._in_versions.clear()
        unknown = [one for one in versions if one not in self._entities]
        for version_id, entities, delivery_ids in (
            await connection.fetch(_SQL["entities_of_versions"], unknown) if unknown else ()
        ):
            self._entities[version_id] = _entities(tuple(entities))
            self._in_versions.update(delivery_ids)


def _newest(columns: Sequence[Any], places: dict[int, int]) -> list[NewestVersion | None]:
    sets: list[NewestVersion | None] = [None] * len(places)
    for one in zip(*columns, strict=True):
        day, version, *_ = one
        known = sets[places[day]]
        if known is None or known[1] < version:
            sets[places[day]] = one
    return sets


@cache
def _entities(names: tuple[str, ...]) -> frozenset[str]:
    # One object for all versions that are made of the same.
    return frozenset(names)
