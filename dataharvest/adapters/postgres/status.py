"""The status report from PostgreSQL, read in one snapshot."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from heapq import nsmallest
from typing import NamedTuple

from dataharvest.adapters.postgres.board import Boards
from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.contracts import unreadable_contracts
from dataharvest.adapters.postgres.set_details import read_dead_letters, read_details
from dataharvest.adapters.postgres.set_status import delivery_status, set_status
from dataharvest.adapters.postgres.status_parts import read_parts
from dataharvest.adapters.postgres.status_rows import Wanted, fields_of, read_sets
from dataharvest.board import Attention, Board, BoardQuery, Cell
from dataharvest.deliveries import SetKey
from dataharvest.objects import ObjectVersion
from dataharvest.rules.attention import report_order
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing import Standing, State
from dataharvest.set_details import Leftovers, SetDetails
from dataharvest.sql import queries
from dataharvest.status import LEFTOVER_DAYS, DeadLetters, StatusReport, UnreadableContract

_SQL = queries("status")
_SAMPLE = 5
"""Quarantined records that are shown of each delivery."""
_ATTENTION = 8
"""Sets of a board that are explained."""


class UploadView(NamedTuple):
    """What became of an upload."""

    delivery_id: int | None
    """None for a manifest."""
    manifest_id: int | None
    """None for a delivery."""
    state: str
    """Of a delivery, or broken where it does not add up.

    Of a manifest kept until its set was decided about with it, then compared or rejected.
    """
    stored_chunk_count: int
    expected_chunk_count: int
    """An estimate until the file was read to its end."""
    record_count: int


class PostgresStatus:
    """Reads where deliveries and sets stand; changes nothing."""

    def __init__(self, database: Database, *, required: Collection[str], rules: Collection[Rule]) -> None:
        self._database = database
        self._required = required
        self._rules = rules
        self._boards = Boards(required=required, rules=rules)

    async def now(self) -> datetime:
        """The database's clock."""
        async with self._database.connection() as connection:
            moment: datetime = await connection.fetchval(_SQL["clock"])
        return moment

    async def uploads(self, versions: Sequence[ObjectVersion]) -> dict[ObjectVersion, UploadView]:
        """What became of those versions of objects that are registered; all of one bucket."""
        if not versions:
            return {}
        keys, identities = [one.key for one in versions], [one.identity for one in versions]
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["uploads"], versions[0].bucket, keys, identities)
        found = {(row["object_key"], row["object_identity"]): UploadView(**fields_of(UploadView, row)) for row in rows}
        return {one: found[one.key, one.identity] for one in versions if (one.key, one.identity) in found}

    async def standings(self, tenant: str, dates: Collection[date]) -> dict[SetKey, Standing]:
        """Where these sets of a tenant stand; those that are not known yet are left out."""
        async with self._snapshot() as connection:
            sets, _ = await read_sets(connection, Wanted(tenant=tenant, dates=dates))
        return {one.key: one.standing(required=self._required, rules=self._rules) for one in sets}

    async def report(
        self,
        *,
        tenant: str | None = None,
        dates: Collection[date] | None = None,
        delivery_ids: Collection[int] = (),
        since: datetime | None = None,
        sample: int = _SAMPLE,
    ) -> StatusReport:
        """The report on sets that match, on these deliveries, and on dead letters ``since`` then.

        ``sample`` quarantined records are shown of each delivery.
        """
        async with self._snapshot() as connection:
            return await self._report(connection, Wanted(tenant=tenant, dates=dates, delivery_ids=delivery_ids), since, sample)

    async def urgent(self, *, limit: int, tenant: str | None = None, day: date | None = None) -> StatusReport:
        """The report on so many of the sets that match, the most urgent and newest, and how many match in all."""
        async with self._snapshot() as connection:
            dates = [day] if day else [row[0] for row in await connection.fetch(_SQL["board_dates"], None, None)]
            cells = await self._boards.cells(connection, dates, part_of_tenant=tenant or "")
            found = {key: cell for key, cell in cells.each() if tenant in (None, key.tenant)}
            chosen = nsmallest(limit, found, key=lambda key: _order(key, found[key]))
            ids = [] if day else [row[0] for row in await connection.fetch(_SQL["without_set"], limit, tenant, LEFTOVER_DAYS)]
            leftovers = 0 if day else await connection.fetchval(_SQL["without_set_count"], tenant)
            report = await self._report(connection, Wanted(tenant=tenant, keys=chosen, delivery_ids=ids), None, _SAMPLE)
        unpublished = sum(cell.state is not State.PUBLISHED for cell in found.values())
        counts = {"set_count": len(found), "unpublished_count": unpublished, "without_set_count": leftovers}
        return report.model_copy(update=counts)

    async def _report(self, connection: Connection, wanted: Wanted, since: datetime | None, sample: int) -> StatusReport:
        sets, others = await read_sets(connection, wanted)
        parts = await read_parts(connection, sets, sample=sample)
        dead = [DeadLetters(stage=row[0], rule=row[1], count=row[2], last_at=row[3]) for row in
                await connection.fetch(_SQL["dead_letters"], since)]  # fmt: skip
        contracts = await unreadable_contracts(connection, wanted.tenant)
        at, workers = await connection.fetchval(_SQL["clock"]), await connection.fetchval(_SQL["workers"])
        return StatusReport(
            at=at,
            sets=[
                set_status(one, parts, required=self._required, rules=self._rules, at=at, worker_count=workers) for one in sets
            ],
            deliveries_without_set=[delivery_status(row, parts) for row in others],
            dead_letter_count=sum(one.count for one in dead),
            dead_letters=dead,
            unreadable_contracts=[
                UnreadableContract(tenant=whose, version=version, message=message)
                for (whose, version), message in sorted(contracts.items())
            ],
            worker_count=workers,
        )

    async def board(self, query: BoardQuery) -> Board:
        """See `StatusReader`."""
        async with self._snapshot() as connection:
            cells = await self._boards.read(connection, query)
            tenants, waiting = cells.tenants(query.state), cells.waiting(query.state)
            report = await self._report(connection, Wanted(keys=waiting[:_ATTENTION]), None, 1)
            dead = await connection.fetchval(_SQL["dead_letter_count"])
        page_count = max(1, -(-len(tenants) // query.per_page))
        first = (min(query.page, page_count) - 1) * query.per_page
        return Board(
            at=report.at,
            query=query,
            dates=cells.dates,
            rows=[cells.row(tenant) for tenant in tenants[first : first + query.per_page]],
            totals=cells.totals(),
            late_count=sum(count for cell, count in cells.counted() if cell.late),
            tenant_count=len(tenants),
            page_count=page_count,
            attention=_attention(report, waiting[:_ATTENTION]),
            attention_count=len(waiting),
            worker_count=report.worker_count or 0,
            dead_letter_count=dead,
        )

    async def details(self, key: SetKey) -> SetDetails | None:
        """See `StatusReader`."""
        async with self._snapshot() as connection:
            report = await self._report(connection, Wanted(keys=[key]), None, _SAMPLE)
            if not report.sets:
                return None
            return await read_details(connection, report.sets[0], at=report.at, rules=list(self._rules))

    async def leftovers(self, *, limit: int) -> Leftovers:
        """See `StatusReader`."""
        async with self._snapshot() as connection:
            ids = [row["delivery_id"] for row in await connection.fetch(_SQL["without_set"], limit, None, None)]
            report = await self._report(connection, Wanted(keys=[], delivery_ids=ids), None, _SAMPLE)
            letters = await read_dead_letters(connection, of=None, limit=limit)
        files = sorted(report.deliveries_without_set, key=lambda one: one.delivery_id, reverse=True)
        return Leftovers(at=report.at, files=files, dead_letters=letters, dead_letter_count=report.dead_letter_count)

    async def pulse(self) -> str:
        """See `StatusReader`; the place in the write-ahead log that is written next."""
        async with self._database.connection() as connection:
            place: str = await connection.fetchval(_SQL["pulse"])
        return place

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        async with (
            self._database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


def _order(key: SetKey, cell: Cell) -> tuple[int, int, str]:
    return report_order(cell.state, late=cell.late, business_date=key.business_date, tenant=key.tenant)


def _attention(report: StatusReport, order: Sequence[SetKey]) -> list[Attention]:
    by_key = {SetKey(one.tenant, one.business_date): one for one in report.sets}
    return [
        Attention(**{name: getattr(one, name) for name in Attention.model_fields if name != "why"}, why=one.why)
        for one in map(by_key.__getitem__, order)
        if one.why
    ]
