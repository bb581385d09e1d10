"""Files that belong to no set, as the status reads them."""

from dataharvest.adapters.postgres.status import PostgresStatus
from dataharvest.errors import Rejected
from dataharvest.rulebook import all_rules
from tests.contract.ledgers import Ledger, source_of


async def test_those_of_the_last_days_are_shown_up_to_the_limit_and_all_are_counted(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    ids = []
    for tenant in ("acme", "acme", "acme", "zen"):
        reason = Rejected("no such kind", rule="unknown_entity", tenant=tenant)
        ids.append(await real_ledger.deliveries.register_rejected(source_of(tenant, "orders"), reason))
    async with real_ledger.database.connection() as connection:
        await connection.execute(
            "UPDATE delivery SET registered_at = registered_at - interval '8 days' WHERE delivery_id = $1", ids[0]
        )
    status = PostgresStatus(real_ledger.database, required=("accounts",), rules=all_rules().values())

    async def shown(limit: int, tenant: str | None) -> tuple[list[int | None], int | None]:
        found = await status.urgent(limit=limit, tenant=tenant)
        return [one.delivery_id for one in found.deliveries_without_set], found.without_set_count

    assert await shown(10, None) == (ids[1:], 4)
    assert await shown(10, "acme") == (ids[1:3], 3)
    assert await shown(1, "acme") == (ids[2:3], 3)
    assert len((await status.report(tenant="acme")).deliveries_without_set) == 3
    assert len((await status.leftovers(limit=10)).files) == 4
