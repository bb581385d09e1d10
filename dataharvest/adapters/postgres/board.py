"""The board from PostgreSQL: cheap for sets that are plainly published, by the rule for all others."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date
from functools import cache
from typing import NamedTuple

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.contracts import newest_contracts
from dataharvest.adapters.postgres.status_rows import Row, SetRows, Wanted, read_sets
from dataharvest.board import LATE, NOT_PUBLISHED, BoardQuery, BoardRow, Cell
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.rules.attention import attention_order, urgency
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing import State
from dataharvest.rules.versions import ACCEPTING
from dataharvest.sql import queries

_SQL = queries("status")


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


async def read_cells(connection: Connection, query: BoardQuery, *, required: Collection[str], rules: Collection[Rule]) -> Cells:
    """The sets of the newest dates, in the order of the board."""
    dates = [row[0] for row in await connection.fetch(_SQL["board_dates"], query.until, query.days)]
    rows = await connection.fetch(_SQL["board_sets"], dates, query.tenant)
    contracts = await newest_contracts(connection, {row["tenant"] for row in rows})
    unsettled = _unsettled(rows, contracts, required)
    sets, _ = await read_sets(connection, Wanted(keys=unsettled)) if unsettled else ([], [])
    states = {one.key: one.standing(required=required, rules=rules).state for one in sets}
    by_set = {}
    for row in rows:
        key = SetKey(row["tenant"], row["business_date"])
        by_set[key] = _cell(states.get(key, State.PUBLISHED), row["version"], row["late"])
    return Cells(dates, by_set, frozenset(one.key for one in sets if _is_held(one)))


def _unsettled(rows: Sequence[Row], contracts: dict[str, Contract], required: Collection[str]) -> list[SetKey]:
    """Sets of which the row alone does not say that they are published."""
    return [SetKey(row["tenant"], row["business_date"]) for row in rows if not _is_plain(row, contracts, required)]


def _is_plain(row: Row, contracts: dict[str, Contract], required: Collection[str]) -> bool:
    contract = contracts.get(row["tenant"])
    # A contract that has come to require more than the version has is the rule's business.
    return bool(row["is_plain"]) and set(contract.required if contract else required) <= set(row["entities"])


def _is_held(one: SetRows) -> bool:
    moving = [row for row in one.deliveries if row["state"] in ACCEPTING - {"sealed"}]
    return any(row["state"] == "waiting" or row["pause_reason"] is not None for row in moving)
