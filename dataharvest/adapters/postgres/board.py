"""The board from PostgreSQL: cheap for sets that are plainly published, by the rule for all others."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date
from functools import cache
from typing import NamedTuple

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.contracts import newest_contracts
from dataharvest.adapters.postgres.status_rows import Row, read_states
from dataharvest.board import LATE, NOT_PUBLISHED, BoardQuery, BoardRow, Cell
from dataharvest.deliveries import SetKey
from dataharvest.rules.attention import attention_order, urgency
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing import State
from dataharvest.sql import queries

_SQL = queries("status")
_VERSIONS_KEPT = 200_000
"""Versions whose entities are kept, at about a hundred bytes each."""


class Cells(NamedTuple):
    """Every set of the dates whose tenant matches, in order of tenant and date."""

    dates: list[date]
    by_set: dict[SetKey, Cell]
    held: frozenset[SetKey]
    """Sets whose files are not read: their tenant is paused, or an object can't be read."""

    def totals(self) -> dict[State, int]:
        """How many are in each state."""
        counted = Counter(cell.state for cell in self.by_set.values())
        return {state: counted[state] for state in State}

    def tenants(self, filtered: str) -> list[str]:
        """Tenants that have a set of that kind, in order."""
        return list(dict.fromkeys(key.tenant for key, cell in self.by_set.items() if _matches(cell, filtered)))

    def row(self, tenant: str) -> BoardRow:
        """A tenant's sets."""
        return BoardRow(tenant=tenant, cells=[self.by_set.get(SetKey(tenant, day)) for day in self.dates])

    def waiting(self, filtered: str) -> list[SetKey]:
        """Sets that wait for somebody, the most urgent first; none is left out but by the filter."""
        found = []
        for key, cell in self.by_set.items():
            if cell.state is State.PUBLISHED:
                continue
            soon = urgency(cell.state, late=cell.late, held=key in self.held)
            if soon is not None and _matches(cell, filtered):
                found.append((attention_order(soon, business_date=key.business_date, tenant=key.tenant), key))
        return [key for _, key in sorted(found)]


# Of ten thousand sets nearly all look the same.
@cache
def _cell(state: State, version: int | None, late: bool) -> Cell:
    return Cell(state=state, version=version, late=late)


def _matches(cell: Cell, filtered: str) -> bool:
    if filtered == NOT_PUBLISHED:
        return cell.state is not State.PUBLISHED
    if filtered == LATE:
        return cell.late
    return not filtered or cell.state == filtered


class Boards:
    """Reads boards; what the versions shown are made of is read once, for that never changes."""

    def __init__(self, *, required: Collection[str], rules: Collection[Rule]) -> None:
        self._required = required
        self._rules = rules
        self._entities: dict[int, frozenset[str]] = {}

    async def read(self, connection: Connection, query: BoardQuery) -> Cells:
        """The sets of the newest dates, in the order of the board."""
        dates = [row[0] for row in await connection.fetch(_SQL["board_dates"], query.until, query.days)]
        return await self.cells(connection, dates, part_of_tenant=query.tenant)

    async def cells(self, connection: Connection, dates: list[date], *, part_of_tenant: str) -> Cells:
        """The sets of these dates, the newest first, without one left out that has a set."""
        if not dates:
            return Cells([], {}, frozenset())
        rows = await connection.fetch(_SQL["board_sets"], dates[-1], dates[0], part_of_tenant)
        unsettled = await self._unsettled(connection, rows, dates)
        states, held = await read_states(connection, unsettled, required=self._required, rules=self._rules)
        by_set = {}
        for tenant, day, late, _, version, _ in rows:
            key = SetKey(tenant, day)
            by_set[key] = _cell(states.get(key, State.PUBLISHED), version, late)
        return Cells(dates, by_set, held)

    async def _unsettled(self, connection: Connection, rows: Sequence[Row], dates: Sequence[date]) -> list[SetKey]:
        """Sets of which what is cheap to see does not say that they are published: the rule is asked of them."""
        touched = set(map(tuple, await connection.fetch(_SQL["board_unsettled"], dates[-1], dates[0])))
        contracts = await newest_contracts(connection, {row["tenant"] for row in rows})
        required = {tenant: frozenset(contract.required) for tenant, contract in contracts.items()}
        await self._learn(connection, [row["set_version_id"] for row in rows if row["is_out"]])
        by_default = frozenset(self._required)
        found = []
        for tenant, day, _, version_id, _, is_out in rows:
            # A contract that has come to require more than the version has is the rule's business, too.
            if not is_out or (tenant, day) in touched or not required.get(tenant, by_default) <= self._entities[version_id]:
                found.append(SetKey(tenant, day))
        return found

    async def _learn(self, connection: Connection, versions: Sequence[int]) -> None:
        if len(self._entities) > _VERSIONS_KEPT:
            self._entities.clear()
        unknown = [one for one in versions if one not in self._entities]
        for row in await connection.fetch(_SQL["entities_of_versions"], unknown) if unknown else ():
            self._entities[row[0]] = _entities(tuple(row[1]))


@cache
def _entities(names: tuple[str, ...]) -> frozenset[str]:
    # One object for all versions that are made of the same.
    return frozenset(names)
