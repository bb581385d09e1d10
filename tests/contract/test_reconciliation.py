"""That the statement of a set in PostgreSQL is exact from file to message, and that damage in any step is seen."""

import pytest

from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.postgres.manifests import PostgresManifests
from dataharvest.adapters.postgres.reconciliation import read_statement
from dataharvest.deliveries import SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.rulebook import all_rules
from dataharvest.rules.manifest import read_manifest
from dataharvest.rules.reconciliation import differences
from dataharvest.rules.statement import Statement
from dataharvest.rules.statement_lines import lines, notes
from dataharvest.stages.work import work_on
from tests.contract.ledgers import ACCOUNTS, CLIENTS, DAY, FILES, Ledger, judge_of, source_of

KEY = SetKey("acme", DAY)
ONE_LESS = """
WITH chosen AS (SELECT min(reference::text)::uuid AS reference FROM value
                WHERE transformer = 'transactions' AND (fields->>'number_of_transactions')::int > 0),
passed_over AS (
    UPDATE value SET fields = jsonb_build_object('number_of_transactions', (fields->>'number_of_transactions')::int - 1)
    FROM chosen WHERE transformer = 'transactions' AND value.reference = chosen.reference)
UPDATE outbound_message SET payload = (payload::jsonb || jsonb_build_object(
    'number_of_transactions', (payload::jsonb->>'number_of_transactions')::int - 1))::text
FROM chosen WHERE kind = 'portfolios' AND outbound_message.reference = chosen.reference
"""
SWAPPED = """
WITH two AS (
    SELECT reference, payload::jsonb AS payload,
           row_number() OVER (ORDER BY (payload::jsonb->>'number_of_transactions')::int DESC) AS place
    FROM outbound_message WHERE kind = 'portfolios' ORDER BY place LIMIT 2)
UPDATE outbound_message SET payload = jsonb_set(other.payload, '{portfolio_reference}', to_jsonb(mine.reference::text))::text
FROM two mine, two other
WHERE outbound_message.reference = mine.reference AND mine.place <> other.place
"""
NEVER_LINKED = """
WITH chosen AS (SELECT min(portfolio_reference::text)::uuid AS reference FROM link),
gone AS (DELETE FROM link USING chosen WHERE portfolio_reference = reference),
without_value AS (DELETE FROM value USING chosen WHERE value.reference = chosen.reference)
DELETE FROM outbound_message USING chosen WHERE outbound_message.reference = chosen.reference
"""
MANIFEST = (
    b'{"entities": {"accounts": {"records": 2, "sums": {"cash_balance": 1520.50, "taxes_paid": "11.25"}}, '
    b'"clients": {"records": 2}, "transactions": {"records": 3, "sums": {"amount": 4998.9951}}}}'
)


async def published(ledger: Ledger, number: int = 1, files: dict[str, bytes] | None = None) -> MemorySender:
    """A version with every rule done in two batches; returns what was sent."""
    await ledger.version("acme", number=number, files={**FILES, **(files or {})})
    sender = MemorySender()
    for rule in all_rules().values():
        ready = RuleReady(tenant="acme", business_date=DAY, version=number, rule=rule.name)
        count = 1 if rule.name == "relationship" else 2
        await ledger.work.plan(ready, batch_count=count)
        for index in range(count):
            batch = Batch(tenant="acme", business_date=DAY, version=number, rule=rule.name, batch=index, batch_count=count)
            await work_on(batch.encode(), work=ledger.work, sender=sender, judge=judge_of(ledger, sender))
        await ledger.sets.confirm_done(KEY, number, rule)
    async with ledger.sets.locked(KEY) as locked:
        await locked.set_published(number)
    return sender


async def statement_of(ledger: Ledger) -> Statement:
    assert ledger.database is not None
    found = await read_statement(ledger.database, "acme", DAY)
    assert found is not None
    return found


async def sentences(ledger: Ledger) -> list[str]:
    return [one.sentence for one in differences(await statement_of(ledger))]


async def damage(ledger: Ledger, statement: str) -> None:
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        await connection.execute(statement)


async def keep_manifest(ledger: Ledger, data: bytes) -> None:
    assert ledger.database is not None
    await PostgresManifests(ledger.database).insert(KEY, source_of("acme", "manifest"), read_manifest(data))


async def test_a_set_that_never_arrived_has_no_statement(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    assert await read_statement(real_ledger.database, "acme", DAY) is None


async def test_a_published_set_is_exact_in_every_step(real_ledger: Ledger) -> None:
    await published(real_ledger)
    await keep_manifest(real_ledger, MANIFEST)
    assert await sentences(real_ledger) == []
    shown = {(one.step, one.subject, one.what): one.text for one in lines(await statement_of(real_ledger))}
    assert shown["table", "transactions", "sum of amount"] == "4998.9951"
    assert shown["chunks", "portfolios", "read"] == "3"
    assert shown["values", "tax", "sum of taxes_paid"] == "11.25"
    assert shown["values", "transactions", "sum of number_of_transactions"] == "4"
    assert shown["values", "links", "number"] == "3"
    assert {shown["values", name, "unlike the rows"] for name in ("sum_of_deposits", "tax", "transactions")} == {"0"}
    # The account of two portfolios goes into both messages.
    assert shown["outbound", "outbound.portfolios", "sum of cash_balance"] == "1540.50"
    assert shown["outbound", "outbound.portfolios", "messages"] == "3"
    assert shown["outbound", "outbound.clients", "sum of tax_free_allowance"] == "806.00"


async def test_a_correction_counts_the_newest_message_of_each_key(real_ledger: Ledger) -> None:
    await published(real_ledger)
    fewer = b"\n".join(CLIENTS.splitlines()[:2]) + b"\n"
    portfolios = b"\n".join(FILES["portfolios"].splitlines()[:2]) + b"\n"
    # A blank line is no record, but makes the content another: the same again would be a repeat.
    same = {name: FILES[name] + b"\n" for name in ("accounts", "transactions")}
    sent = await published(real_ledger, 2, {**same, "clients": fewer, "portfolios": portfolios})
    assert sum(one.topic.startswith("outbound.") for one in sent.sent) == 3
    assert await sentences(real_ledger) == []
    shown = {(one.step, one.subject, one.what): one.text for one in lines(await statement_of(real_ledger))}
    assert shown["outbound", "outbound.portfolios", "messages"] == "1"
    assert shown["outbound", "outbound.portfolios", "withdrawn"] == "2"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("DELETE FROM row_transactions WHERE transaction_reference = 't3'", "transactions: number of rows is 3 expected, 2"),
        ("UPDATE row_accounts SET cash_balance = 1 WHERE account_number = '0012'", "accounts: sum of cash_balance is 1520.50"),
        ("UPDATE row_accounts SET cash_balance = 1 WHERE account_number = '0012'", "outbound.portfolios: sum of cash_balance"),
        ("UPDATE delivery SET record_count = 9 WHERE entity = 'clients'", "clients: records read by its chunks is 9 expected, 2"),
        ("DELETE FROM value WHERE transformer = 'tax'", "tax: number of references is 2 expected, 0 found"),
        ("""UPDATE value SET fields = fields || '{"taxes_paid": "0.01"}'""", "outbound.clients: sum of taxes_paid from values"),
        # What a transformer passed over is in its values and messages alike.
        (ONE_LESS, "transactions: sum of number_of_transactions by the rows is 4 expected, 3 found, difference -1"),
        (ONE_LESS, "transactions: number of portfolios with values unlike the rows is 0 expected, 1 found, difference 1 ("),
        (
            "UPDATE value SET reference = gen_random_uuid() WHERE transformer = 'tax'",
            "tax: number of clients with values unlike the rows is 0 expected, ",
        ),
        # So is what relating passed over.
        (NEVER_LINKED, "links: number is 3 expected, 2 found, difference -1"),
        (NEVER_LINKED, "portfolios: number without their link is 0 expected, 1 found, difference 1 ("),
        ("UPDATE link SET account_number = '0013'", "portfolios: number without their link is 0 expected, 1"),
        (
            "INSERT INTO orphan_count SELECT set_version_id, 'transactions without an account', 2 FROM set_version",
            "transactions without an account: number is 0 expected, 2 found",
        ),
        # Of as many and as much, to others.
        (SWAPPED, "outbound.portfolios: number of messages unlike rows and values is 0 expected, 2 found, difference 2 ("),
        (
            "UPDATE outbound_message SET payload = replace(payload, 'EUR', 'USD')",
            "outbound.portfolios: number of messages unlike rows and values is 0 expected, 3 found",
        ),
        ("UPDATE row_accounts SET currency = 'USD'", "outbound.portfolios: number of messages unlike rows and values is 0"),
        (
            "DELETE FROM outbound_message WHERE kind = 'clients'",
            "outbound.clients: number of messages for values of tax is 2 expected",
        ),
        ("UPDATE batch SET done_at = NULL", "outbound.portfolios: number of unsent messages is 0 expected, 3 found"),
    ],
)
async def test_damage_in_any_step_is_seen(real_ledger: Ledger, broken: str, said: str) -> None:
    await published(real_ledger)
    await keep_manifest(real_ledger, MANIFEST)
    await damage(real_ledger, broken)
    found = await sentences(real_ledger)
    assert [one for one in found if one.startswith(said)], found


async def test_a_version_is_not_compared_with_rows_that_were_changed_after_it(real_ledger: Ledger) -> None:
    await published(real_ledger)
    await damage(real_ledger, "UPDATE business_set SET edition = edition + 1")
    await damage(real_ledger, "UPDATE row_accounts SET cash_balance = 1, taxes_paid = 1, account_number = 'other'")
    await damage(real_ledger, "DELETE FROM row_clients")
    statement = await statement_of(real_ledger)
    assert {one.entity for one in differences(statement)} == {"accounts", "clients"}
    assert [one for one in notes(statement) if "version 1 is to be made anew" in one]


@pytest.mark.parametrize(
    "other", ["UPDATE value SET logic_version = 0", "UPDATE batch SET made_by = 'another' WHERE rule = 'tax'"]
)
async def test_what_another_declaration_made_is_not_compared_with_what_todays_gives(real_ledger: Ledger, other: str) -> None:
    await published(real_ledger)
    await damage(real_ledger, """UPDATE value SET fields = '{"taxes_paid": "1.00"}' WHERE transformer = 'tax'""")
    assert {"tax", "outbound.clients"} == {one.entity for one in differences(await statement_of(real_ledger))}
    await damage(real_ledger, other)
    statement = await statement_of(real_ledger)
    # The sums of values and messages are compared whoever made them.
    assert {one.entity for one in differences(statement)} == {"outbound.clients"}
    assert [one for one in notes(statement) if one.startswith("tax: made by another declaration than today's")]


async def test_what_another_declaration_made_of_another_type_is_left_out_of_sums(real_ledger: Ledger) -> None:
    await published(real_ledger)
    fields = '{"taxes_paid": "none", "number_of_transactions": "1.5"}'
    await damage(real_ledger, f"UPDATE value SET logic_version = 0, fields = '{fields}'")
    shown = {(one.subject, one.what): one.text for one in lines(await statement_of(real_ledger))}
    assert shown["tax", "sum of taxes_paid"] == "0.00"
    assert shown["transactions", "sum of number_of_transactions"] == "4.50"


async def test_a_version_is_compared_though_nobody_knows_its_batches_any_more(real_ledger: Ledger) -> None:
    await published(real_ledger)
    await damage(real_ledger, "DELETE FROM batch WHERE rule = 'tax'")
    assert await sentences(real_ledger) == []
    await damage(real_ledger, """UPDATE value SET fields = fields || '{"taxes_paid": "0.01"}' WHERE transformer = 'tax'""")
    assert [one for one in await sentences(real_ledger) if one.startswith("tax: sum of taxes_paid by the rows is 11.25 expected")]


async def test_reported_orphans_are_no_difference(real_ledger: Ledger) -> None:
    stray = FILES["accounts"] + b"3,0099,1.00,EUR,0\n"
    await published(real_ledger, files={"accounts": stray})
    assert await sentences(real_ledger) == []
    shown = {(one.step, one.subject): one.text for one in lines(await statement_of(real_ledger))}
    assert shown["values", "accounts without a portfolio"] == "1"


async def test_a_record_that_left_quarantine_without_a_trace_is_seen(real_ledger: Ledger) -> None:
    await real_ledger.complete("acme", "accounts", ACCOUNTS + b"3,0014,NaN,EUR,0\n")
    assert await sentences(real_ledger) == []
    await damage(real_ledger, "DELETE FROM quarantine")
    assert await sentences(real_ledger) == ["accounts: number of records in quarantine is 1 expected, 0 found, difference -1"]


async def test_a_manifest_of_another_program_is_a_difference_with_its_reason(real_ledger: Ledger) -> None:
    await published(real_ledger)
    await keep_manifest(real_ledger, MANIFEST)
    await damage(real_ledger, """UPDATE manifest SET content = '{"entities": {"accounts": {"futures": 1}}}'""")
    [said] = await sentences(real_ledger)
    assert said.startswith("manifest: what it says is known expected, not known found (the stored manifest says")
    assert "entities.accounts.futures" in said


async def test_a_manifest_that_says_otherwise_is_a_difference_and_a_corrected_one_is_none(real_ledger: Ledger) -> None:
    await published(real_ledger)
    await keep_manifest(real_ledger, MANIFEST.replace(b"4998.9951", b"4998.9952"))
    assert await sentences(real_ledger) == [
        "transactions: sum of amount is 4998.9952 expected, 4998.9951 found, difference -0.0001"
    ]
    await keep_manifest(real_ledger, MANIFEST)
    assert await sentences(real_ledger) == []


async def test_a_set_without_a_version_is_exact_as_far_as_it_is(real_ledger: Ledger) -> None:
    await real_ledger.complete("acme", "clients", CLIENTS)
    assert await sentences(real_ledger) == []
    assert {one.step for one in lines(await statement_of(real_ledger))} == {"chunks", "table"}
