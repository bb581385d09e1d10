"""The board from PostgreSQL: cheap for sets that are plainly published, by the rule for all others."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from itertools import chain
from typing import NamedTuple

from dataharvest.adapters.postgres.board_sets import BoardSets, TenantSets
from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.status_rows import Ruled, read_states
from dataharvest.board import LATE, NOT_PUBLISHED, BoardQuery, BoardRow, Cell
from dataharvest.deliveries import SetKey
from dataharvest.rules.attention import attention_order, urgency
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing import State
from dataharvest.sql import queries

_SQL = queries("status")


class Cells(NamedTuple):
    """Every set of the dates whose tenant matches."""

    dates: list[date]
    by_tenant: dict[str, list[Cell | None]]
    """In order of the tenant's name, each set at the place of its date."""
    held: frozenset[SetKey]
    """Sets whose files are not read: their tenant is paused, or an object can't be read."""

    def each(self) -> Iterator[tuple[SetKey, Cell]]:
        """The sets there are."""
        for tenant, cells in self.by_tenant.items():
            for day, cell in zip(self.dates, cells, strict=True):
                if cell is not None:
                    yield SetKey(tenant, day), cell

    def counted(self) -> list[tuple[Cell, int]]:
        """How many sets there are of each kind."""
        # Those that look the same are the same object: ten thousand are counted without being looked at.
        kinds = {id(cell): cell for cell in chain.from_iterable(self.by_tenant.values()) if cell is not None}
        counts = Counter(map(id, chain.from_iterable(self.by_tenant.values())))
        return [(cell, counts[number]) for number, cell in kinds.items()]

    def totals(self) -> dict[State, int]:
        """How many are in each state."""
        found = dict.fromkeys(State, 0)
        for cell, count in self.counted():
            found[cell.state] += count
        return found

    def tenants(self, filtered: str) -> list[str]:
        """Tenants that have a set of that kind, in order."""
        return [tenant for tenant, cells in self.by_tenant.items() if any(cell and _matches(cell, filtered) for cell in cells)]

    def row(self, tenant: str) -> BoardRow:
        """A tenant's sets."""
        return BoardRow(tenant=tenant, cells=self.by_tenant[tenant])

    def waiting(self, filtered: str) -> list[SetKey]:
        """Sets that wait for somebody, the most urgent first; none is left out but by the filter."""
        found = []
        for tenant, cells in self.by_tenant.items():
            for day, cell in zip(self.dates, cells, strict=True):
                if cell is None or cell.state is State.PUBLISHED:
                    continue
                key = SetKey(tenant, day)
                soon = urgency(cell.state, late=cell.late, held=key in self.held)
                if soon is not None and _matches(cell, filtered):
                    found.append((attention_order(soon, business_date=day, tenant=tenant), key))
        return [key for _, key in sorted(found)]


# Of ten thousand sets nearly all look the same.
@cache
def _cell(state: State, version: int, late: bool) -> Cell:
    return Cell(state=state, version=version or None, late=late)


@cache
def _published(version: int, late: bool) -> Cell:
    return _cell(State.PUBLISHED, version, late)


def _matches(cell: Cell, filtered: str) -> bool:
    if filtered == NOT_PUBLISHED:
        return cell.state is not State.PUBLISHED
    if filtered == LATE:
        return cell.late
    return not filtered or cell.state == filtered


class Boards:
    """Reads boards; what never changes is read once."""

    def __init__(self, *, required: Collection[str], rules: Collection[Rule]) -> None:
        self._required = required
        self._rules = rules
        self._sets = BoardSets(required)
        self._ruled: Ruled = {}

    async def read(self, connection: Connection, query: BoardQuery) -> Cells:
        """The sets of the newest dates, in the order of the board."""
        dates = [row[0] for row in await connection.fetch(_SQL["board_dates"], query.until, query.days)]
        return await self.cells(connection, dates, part_of_tenant=query.tenant)

    async def cells(self, connection: Connection, dates: list[date], *, part_of_tenant: str) -> Cells:
        """The sets of these dates, the newest first, without one left out that has a set."""
        if not dates:
            return Cells([], {}, frozenset())
        found = await self._sets.read(connection, dates, part_of_tenant=part_of_tenant)
        open_sets = await self._sets.open_ones(connection, found, dates, part_of_tenant=part_of_tenant)
        states, held = await read_states(connection, open_sets, required=self._required, rules=self._rules, ruled=self._ruled)
        return Cells(dates, _filled(found, dates, states), held)


def _filled(found: Sequence[TenantSets], dates: Sequence[date], states: Mapping[SetKey, State]) -> dict[str, list[Cell | None]]:
    """The cells: published ones, but where the rule was asked."""
    sets = {one.tenant: one.sets for one in found}
    filled = {tenant: [None if one is None else _published(one[1], one[3]) for one in each] for tenant, each in sets.items()}
    places = {day: place for place, day in enumerate(dates)}
    for (tenant, day), state in states.items():
        one = sets[tenant][places[day]]
        assert one is not None, "it was asked for because it is there"
        filled[tenant][places[day]] = _cell(state, one[1], one[3])
    return filled
