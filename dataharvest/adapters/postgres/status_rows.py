"""What is stored of each set, as the status report reads it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeAlias

import asyncpg

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.contracts import newest_contracts, unreadable_contracts
from dataharvest.adapters.postgres.delivery_notes import note
from dataharvest.adapters.postgres.sets import version_view
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing import Standing, State, standing
from dataharvest.rules.versions import ACCEPTING, IN_PROGRESS, DeliveryView, SetView, newest_complete
from dataharvest.sql import queries

_SQL = queries("status")
_MANIFESTS = queries("manifests")

Row = asyncpg.Record

_RULED_KEPT = 10_000
"""Sets of which it is kept what the rule has said, at some kilobytes each."""
_OF_A_VIEW = tuple(DeliveryView.__annotations__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which sets are read; what is None does not choose."""

    tenant: str | None = None
    dates: Collection[date] | None = None
    keys: Collection[SetKey] | None = None
    """Single sets."""
    delivery_ids: Collection[int] = ()
    """Deliveries that are read whatever the rest says."""

    def arguments(self) -> tuple[str | None, list[date] | None, list[str] | None, list[date] | None]:
        """As the queries take them."""
        keys = self.keys
        tenants, days = (None, None) if keys is None else ([key.tenant for key in keys], [key.business_date for key in keys])
        return self.tenant, None if self.dates is None else list(self.dates), tenants, days


@dataclass(frozen=True, kw_only=True)
class SetRows:
    """The rows of one set."""

    key: SetKey
    deliveries: list[Row]
    versions: list[Row]
    manifests: list[Row]
    problem: dict[str, Any] | None
    late_at: datetime | None
    edition: int
    contract: Contract | None
    """The tenant's newest, if it can be read."""
    unreadable: Mapping[int, str] = field(default_factory=dict)
    """Why, by version, for the tenant's contracts in use that can't be read."""

    def standing(self, *, required: Collection[str], rules: Collection[Rule]) -> Standing:
        """Where the set stands; ``required`` unless the tenant's contract says otherwise."""
        return self._standing(required, rules, {row["delivery_id"]: self._note(row) for row in self.deliveries})

    def state(self, *, required: Collection[str], rules: Collection[Rule]) -> State:
        """How far the set is; for that less has to be known of its deliveries."""
        return self._standing(required, rules, {}).state

    def _standing(self, required: Collection[str], rules: Collection[Rule], notes: Mapping[int, str]) -> Standing:
        failure = self.versions[-1]["failure"] if self.versions else None
        return standing(
            self.view(),
            required=self.contract.required if self.contract else required,
            rules=rules,
            quarantine_threshold=self.contract.quarantine_threshold if self.contract else 0,
            failure=failure,
            problem=self._contract_problem() or self.problem,
            notes=notes,
        )

    def lateness(self) -> list[str]:
        """A sentence for a set that was not complete when it was due."""
        return [f"late: it had no version at its cut-off, {self.late_at:%F %T} UTC"] if self.late_at else []

    def tolerated(self) -> list[str]:
        """A sentence for each file that counts although some of its records are in quarantine."""
        threshold = self.contract.quarantine_threshold if self.contract else 0
        newest = newest_complete(self.view().deliveries)
        return [
            f"quarantine: {one.open_quarantine:,} of {entity}, the contract allows {threshold:,}"
            for entity, one in sorted(newest.items())
            if 0 < one.open_quarantine <= threshold
        ]

    def _contract_problem(self) -> dict[str, Any] | None:
        """Nothing is decided about a set whose contract can't be read; what is published stands."""
        if self.contract or not self.unreadable:
            return None
        view = self.view()
        chosen = {entity: one.delivery_id for entity, one in newest_complete(view.deliveries).items()}
        current = view.versions[-1] if view.versions else None
        if current and current.state == "published" and dict(current.deliveries) == chosen:
            return None
        message = self.unreadable[max(self.unreadable)].rstrip(".")
        return {"rule": "contract", "state": "blocked", "message": message, "deliveries": chosen}

    def contract_trouble(self, row: Row) -> str | None:
        """Why a delivery's contract can't be read, while the delivery waits for that."""
        return self.unreadable.get(row["contract_version"]) if row["state"] in IN_PROGRESS else None

    def _note(self, row: Row) -> str:
        trouble = self.contract_trouble(row)
        return f"waits until its contract is replaced ({trouble})" if trouble else note(row)

    def view(self) -> SetView:
        """The set as the rules see it."""
        return SetView(
            deliveries=tuple(DeliveryView(**{name: row[name] for name in _OF_A_VIEW}) for row in self.deliveries),
            versions=tuple(map(version_view, self.versions)),
            edition=self.edition,
        )


async def read_sets(connection: Connection, wanted: Wanted) -> tuple[list[SetRows], list[Row]]:
    """The rows by set, and the deliveries that belong to no set shown."""
    deliveries = await connection.fetch(_SQL["deliveries"], *wanted.arguments(), list(wanted.delivery_ids))
    return await _by_set(connection, wanted, deliveries)


Ruled: TypeAlias = dict[SetKey, tuple[SetRows, State]]
"""What the rule has said of sets, and of which rows: of the same it says the same."""


async def read_states(
    connection: Connection, keys: Collection[SetKey], *, required: Collection[str], rules: Collection[Rule], ruled: Ruled
) -> tuple[dict[SetKey, State], frozenset[SetKey]]:
    """How far these sets are, and those whose files are not read now: their tenant is paused, or an object can't be read.

    The rule is asked of sets that are not in ``ruled`` as they are now, and what it says is put there.
    """
    if not keys:
        return {}, frozenset()
    wanted = Wanted(keys=keys)
    deliveries = await connection.fetch(_SQL["board_deliveries"], *wanted.arguments()[2:])
    sets, _ = await _by_set(connection, wanted, deliveries)
    if len(ruled) > _RULED_KEPT:
        ruled.clear()
    for one in sets:
        if one.key not in ruled or ruled[one.key][0] != one:
            ruled[one.key] = one, one.state(required=required, rules=rules)
    states = {one.key: ruled[one.key][1] for one in sets}
    return states, frozenset(one.key for one in sets if _is_held(one))


def _is_held(one: SetRows) -> bool:
    moving = [row for row in one.deliveries if row["state"] in ACCEPTING - {"sealed"}]
    return any(row["state"] == "waiting" or row["pause_reason"] is not None for row in moving)


async def _by_set(connection: Connection, wanted: Wanted, deliveries: Collection[Row]) -> tuple[list[SetRows], list[Row]]:
    by_set: dict[SetKey, SetRows] = {}
    sets = await connection.fetch(_SQL["sets"], *wanted.arguments())
    contracts = await newest_contracts(connection, {row["tenant"] for row in sets})
    unreadable = await unreadable_contracts(connection, wanted.tenant)
    for row in sets:
        key = SetKey(row["tenant"], row["business_date"])
        by_set[key] = SetRows(
            key=key,
            deliveries=[],
            versions=[],
            manifests=[],
            problem=row["problem"],
            late_at=row["late_at"],
            edition=row["edition"],
            contract=contracts.get(key.tenant),
            unreadable={version: reason for (whose, version), reason in unreadable.items() if whose == key.tenant},
        )
    others: list[Row] = []
    for row in deliveries:
        found = by_set.get(SetKey(row["tenant"], row["business_date"]))
        (found.deliveries if found else others).append(row)
    for row in await connection.fetch(_SQL["versions"], *wanted.arguments()):
        by_set[SetKey(row["tenant"], row["business_date"])].versions.append(row)
    for row in await connection.fetch(_MANIFESTS["of_sets"], *wanted.arguments()):
        by_set[SetKey(row["tenant"], row["business_date"])].manifests.append(row)
    return list(by_set.values()), others


def fields_of(kind: Any, row: Row) -> dict[str, Any]:
    """The columns that have the name of a field of ``kind``."""
    present = set(row.keys())
    return {name: row[name] for name in kind.__annotations__ if name in present}
