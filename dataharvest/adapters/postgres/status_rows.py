"""What is stored of each set, as the status report reads it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import asyncpg

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.deliveries import SetKey
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing import Standing, standing
from dataharvest.rules.versions import IN_PROGRESS, DeliveryView, SetView, VersionView
from dataharvest.sql import queries

_SQL = queries("status")

Row = asyncpg.Record


@dataclass(frozen=True, kw_only=True)
class SetRows:
    """The rows of one set."""

    key: SetKey
    deliveries: list[Row]
    versions: list[Row]

    def standing(self, *, required: Collection[str], rules: Collection[Rule]) -> Standing:
        """Where the set stands."""
        failure = self.versions[-1]["failure"] if self.versions else None
        notes = {row["delivery_id"]: _note(row) for row in self.deliveries}
        return standing(self.view(), required=required, rules=rules, failure=failure, notes=notes)

    def view(self) -> SetView:
        """The set as the rules see it."""
        return SetView(
            deliveries=tuple(DeliveryView(**fields_of(DeliveryView, row)) for row in self.deliveries),
            versions=tuple(
                VersionView(
                    version=row["version"],
                    state=row["state"],
                    deliveries=row["deliveries"],
                    facts=frozenset(row["facts"]),
                    announced=frozenset(row["announced"]),
                )
                for row in self.versions
            ),
        )


async def read_sets(
    connection: Connection, tenant: str | None, dates: Collection[date] | None, delivery_ids: Collection[int]
) -> tuple[list[SetRows], list[Row]]:
    """The rows by set, and the deliveries that belong to no set shown."""
    wanted = tenant, None if dates is None else list(dates)
    keys = [SetKey(*row) for row in await connection.fetch(_SQL["sets"], *wanted)]
    by_set: dict[SetKey, SetRows] = {key: SetRows(key=key, deliveries=[], versions=[]) for key in keys}
    others: list[Row] = []
    for row in await connection.fetch(_SQL["deliveries"], *wanted, list(delivery_ids)):
        found = by_set.get(SetKey(row["tenant"], row["business_date"]))
        (found.deliveries if found else others).append(row)
    for row in await connection.fetch(_SQL["versions"], *wanted):
        by_set[SetKey(row["tenant"], row["business_date"])].versions.append(row)
    return list(by_set.values()), others


def fields_of(kind: Any, row: Row) -> dict[str, Any]:
    """The columns that have the name of a field of ``kind``."""
    present = set(row.keys())
    return {name: row[name] for name in kind.__annotations__ if name in present}


def _note(row: Row) -> str:
    if row["state"] not in IN_PROGRESS:
        return str(row["state"])
    if row["state"] == "waiting":
        return f"waits for its object ({(row['failure'] or {}).get('message', 'it cannot be read now')})"
    if row["state"] == "registered":
        return "registered, nobody reads it yet"
    total = row["chunk_count"]
    return f"{row['stored_chunk_count']} {'stored chunks, more to come' if total is None else f'of {total} chunks stored'}"
