"""What PostgreSQL measures is what `status` reports, set by set."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from dataharvest.adapters.postgres.measurements import PostgresMeasurements
from dataharvest.adapters.postgres.status import PostgresStatus
from dataharvest.adapters.postgres.sweeping import PostgresSweepState
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, RuleReady
from dataharvest.rulebook import RELATIONSHIP, all_rules, required_entities
from dataharvest.rules.notifying import late_note
from dataharvest.rules.versions import newest_complete
from tests.contract.ledgers import ACCOUNTS, DAY, FILES, Ledger, sealing_of

EVER = timedelta(days=36_500)
BAD = ACCOUNTS + b"3,0014,NaN,EUR,0\n"


def rule_ready(tenant: str, rule: str) -> RuleReady:
    return RuleReady(tenant=tenant, business_date=DAY, version=1, rule=rule)


async def announce(ledger: Ledger, tenant: str, rule: str) -> None:
    async with ledger.sets.locked(SetKey(tenant, DAY)) as locked:
        await locked.announce(1, all_rules()[rule])


async def finish(ledger: Ledger, tenant: str, rule: str, *, failure: dict[str, str] | None = None) -> None:
    """Do the only batch of a rule, or block the version."""
    await ledger.work.plan(rule_ready(tenant, rule), batch_count=1)
    batch = Batch(tenant=tenant, business_date=DAY, version=1, rule=rule, batch=0, batch_count=1)
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        await locked.mark_computed(is_done=failure is None)
        if failure:
            await locked.block(failure)
            return
    await ledger.sets.confirm_done(SetKey(tenant, DAY), 1, all_rules()[rule])


async def dispute(ledger: Ledger, tenant: str, state: str) -> None:
    """Note a problem with the control totals of the newest files."""
    async with ledger.sets.locked(SetKey(tenant, DAY)) as locked:
        newest = {entity: one.delivery_id for entity, one in newest_complete((await locked.view()).deliveries).items()}
        await locked.set_totals_problem({"rule": "control_totals", "state": state, "message": "differs", "deliveries": newest})


async def complete(ledger: Ledger, tenant: str) -> None:
    """Every file of a set, without a version."""
    for entity, content in FILES.items():
        await ledger.complete(tenant, entity, content)


async def make_sets(ledger: Ledger) -> None:
    """A set in every state, and some that are on the way from one to another."""
    await ledger.complete("incomplete", "accounts", ACCOUNTS)
    refused = await ledger.lease("rejected")
    await ledger.deliveries.reject(refused.delivery_id, Rejected("no header", rule="missing_column"))
    await ledger.complete("dirty", "accounts", BAD)
    await complete(ledger, "complete")
    for tenant in ("blocked-totals", "waits-for-manifest"):
        await complete(ledger, tenant)
    await dispute(ledger, "blocked-totals", "blocked")
    await dispute(ledger, "waits-for-manifest", "waits")
    for tenant in ("ready", "orphans", "transforming", "publishing", "published", "disputed", "corrected", "reading"):
        await ledger.version(tenant)
    await finish(ledger, "orphans", RELATIONSHIP, failure={"rule": "orphans", "message": "2 orphans"})
    for tenant in ("transforming", "publishing", "published", "disputed"):
        await finish(ledger, tenant, RELATIONSHIP)
    await announce(ledger, "publishing", "outbound.clients")
    for tenant in ("published", "disputed"):
        async with ledger.sets.locked(SetKey(tenant, DAY)) as locked:
            await locked.set_published(1)
    await dispute(ledger, "disputed", "disputed")
    await ledger.complete("corrected", "accounts", ACCOUNTS + b"3,0014,1,EUR,0\n")
    stuck = await ledger.lease("overtaken", age_s=10)
    assert await ledger.deliveries.seal(stuck, sealing_of(ACCOUNTS + b"3,0014,1,EUR,0\n", lease=stuck))
    await complete(ledger, "overtaken")
    broken = await ledger.lease("broken", age_s=10)
    await ledger.judgements.note_broken(broken.delivery_id, "3 records are unaccounted for")
    # The last: a lease is taken from whatever waits.
    await ledger.lease("loading")
    await ledger.lease("reading", "clients")


async def test_sets_by_state_are_those_of_the_status_report(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    await make_sets(real_ledger)
    status = PostgresStatus(real_ledger.database, required=required_entities(), rules=list(all_rules().values()))
    reported = Counter(one.state.value for one in (await status.report()).sets)

    measured = await PostgresMeasurements(real_ledger.database, required=required_entities()).measure(window=EVER)

    assert dict(measured.sets) == dict(reported)
    assert {"incomplete", "loading", "blocked", "ready", "transforming", "publishing", "disputed", "published"} == set(reported)
    assert measured.quarantine_open == 1
    assert measured.dead_letters == 0
    assert 0 < measured.unfinished_s < 300


async def test_a_contract_decides_what_is_required_and_what_quarantine_is_allowed(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    await real_ledger.complete("lenient", "accounts", BAD)
    async with real_ledger.database.connection() as connection:
        content = {"quarantine_threshold": 1, "required": ["accounts"]}
        await connection.execute("INSERT INTO contract (tenant, version, content) VALUES ('lenient', 1, $1)", content)

    measured = await PostgresMeasurements(real_ledger.database, required=required_entities()).measure(window=EVER)

    assert dict(measured.sets) == {"ready": 1}


async def test_a_late_set_counts_until_it_has_a_version_and_old_ones_do_not(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    measurements = PostgresMeasurements(real_ledger.database, required=required_entities())
    due = datetime.now(UTC) - timedelta(hours=1)
    note = late_note("acme", DAY, due_at=due)
    assert await PostgresSweepState(real_ledger.database).mark_late(SetKey("acme", DAY), due, note)

    found = await measurements.measure(window=EVER)
    assert (found.late_sets, dict(found.sets)) == (1, {"incomplete": 1})
    assert found.lateness_s >= 3600
    none = await measurements.measure(window=timedelta(days=-36_500))
    assert (none.late_sets, none.lateness_s, dict(none.sets)) == (0, 0, {})
    await real_ledger.version("acme")
    assert (await measurements.measure(window=EVER)).late_sets == 0
