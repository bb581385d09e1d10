"""What keeping manifests promises: each content once, the newest that can be used counts, no digit is lost."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.objects import ObjectVersion
from dataharvest.rulebook import all_rules
from dataharvest.rules.manifest import Manifest, read_manifest
from dataharvest.stages.decide import Decisions
from tests.contract.ledgers import DAY, FILES, START, Ledger

KEY = SetKey("acme", DAY)


def source(number: int, *, age_s: float = 0, name: str = "manifest_20261123.json") -> ObjectVersion:
    return ObjectVersion(
        bucket="contract",
        key=f"acme/{name}",
        version_id=f"v{number}",
        etag=f'"{number}"',
        last_modified=START - timedelta(seconds=age_s),
        size_bytes=10,
    )


def manifest(records: int) -> Manifest:
    return read_manifest(b'{"entities": {"accounts": {"records": %d}}}' % records)


async def newest(ledger: Ledger, key: SetKey = KEY) -> Manifest | None:
    async with ledger.sets.locked(key) as locked:
        return await locked.manifest()


async def test_a_manifest_comes_back_with_every_digit(ledger: Ledger) -> None:
    kept = ledger.manifests
    said = read_manifest(
        b'{"entities": {"accounts": {"records": 3, "sums": {"cash_balance": 1234567890123456789.1234}}, "clients": {"sha256": "'
        + b"A" * 64
        + b'"}}}'
    )
    assert await newest(ledger) is None
    await kept.insert(KEY, source(1), said)
    assert await newest(ledger) == said
    assert said.entities["accounts"].sums["cash_balance"] == Decimal("1234567890123456789.1234")
    assert await newest(ledger, SetKey("other", DAY)) is None


async def test_the_moment_is_that_of_the_newest_manifest_that_can_be_used(ledger: Ledger) -> None:
    async def put_at(key: SetKey) -> datetime | None:
        async with ledger.sets.locked(key) as locked:
            return await locked.manifest_put_at()

    assert await put_at(KEY) is None
    for number, outcome, age_s in ((1, manifest(1), 9), (2, manifest(2), 5), (3, Rejected("no JSON", rule="json"), 0)):
        await ledger.manifests.insert(KEY, source(number, age_s=age_s), outcome)
    assert await put_at(KEY) == START - timedelta(seconds=5)
    assert await put_at(SetKey("other", DAY)) is None


async def test_a_content_seen_again_has_its_number_and_changes_nothing(ledger: Ledger) -> None:
    kept = ledger.manifests
    first = await kept.insert(KEY, source(1), manifest(1))
    assert await kept.insert(KEY, source(1), manifest(2)) == first
    assert await kept.insert(KEY, source(2), manifest(3)) != first
    assert await newest(ledger) == manifest(3)
    assert await kept.known("contract", ["acme/manifest_20261123.json"]) == {("acme/manifest_20261123.json", '"2"')}
    assert await kept.known("other", ["acme/manifest_20261123.json"]) == set()


async def test_a_manifest_is_untold_until_it_is_marked(ledger: Ledger) -> None:
    kept = ledger.manifests
    first = await kept.insert(KEY, source(1), manifest(1))
    second = await kept.insert(SetKey("other", DAY), source(2), manifest(2))
    assert [(one.tenant, one.manifest_id) for one in await kept.unannounced(age_s=0)] == [("acme", first), ("other", second)]
    if ledger.database:
        assert await kept.unannounced(age_s=60) == []
    await kept.mark_announced(first)
    await kept.insert(KEY, source(1), manifest(1))
    assert [one.manifest_id for one in await kept.unannounced(age_s=0)] == [second]


async def test_the_newest_that_can_be_used_counts_whatever_the_order_of_arrival(ledger: Ledger) -> None:
    kept = ledger.manifests
    await kept.insert(KEY, source(1, age_s=5), manifest(1))
    await kept.insert(KEY, source(2, age_s=9), manifest(2))
    assert await newest(ledger) == manifest(1)
    await kept.insert(
        KEY, source(3), Rejected("unreadable", rule="invalid_manifest", problems=("line 1: /a is an unknown field",))
    )
    assert await newest(ledger) == manifest(1)
    await kept.insert(KEY, replace(source(4, age_s=5), key="acme/x/manifest_20261123.json"), manifest(4))
    assert await newest(ledger) == manifest(4)


async def test_why_a_manifest_cannot_be_used_is_kept(real_ledger: Ledger) -> None:
    try:
        read_manifest(b'{"entities": {"acc\\u0000\\ud800": {"records": 1}}}')
    except Rejected as reason:
        await real_ledger.manifests.insert(KEY, source(1), reason)
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        row = await connection.fetchrow("SELECT state, content, failure FROM manifest")
    assert row is not None
    assert (row["state"], row["content"], row["failure"]["rule"]) == ("rejected", None, "invalid_manifest")
    assert len(row["failure"]["problems"]) == 1


async def test_a_reason_that_postgresql_could_not_store_is_kept_in_other_words(real_ledger: Ledger) -> None:
    reason = Rejected("a \0 and a \ud800", rule="invalid_manifest", problems=("line 1: \0", "line 2: \udfff"))
    await real_ledger.manifests.insert(KEY, source(1), reason)
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        failure = await connection.fetchval("SELECT failure FROM manifest")
    assert failure == {
        "rule": "invalid_manifest", "message": "a \\0 and a ?", "problems": ["line 1: \\0", "line 2: ?"]
    }  # fmt: skip


async def test_a_stored_manifest_of_another_program_blocks_its_set_until_it_is_sent_again(real_ledger: Ledger) -> None:
    decisions = Decisions(
        sets=real_ledger.sets,
        removals=real_ledger.removals,
        sender=MemorySender(),
        rules=all_rules(),
        settle_s=0,
    )
    for entity, content in FILES.items():
        await real_ledger.complete("acme", entity, content)
    await real_ledger.manifests.insert(KEY, source(1, age_s=9), manifest(2))
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        await connection.execute("UPDATE manifest SET content = $1", {"entities": {"accounts": {"futures": 1}}})
        await decisions.decide(KEY)
        problem = await connection.fetchval("SELECT problem FROM business_set")
        assert (problem["rule"], problem["state"]) == ("stored_manifest", "blocked")
        assert "entities.accounts.futures" in problem["message"]
        assert await connection.fetchval("SELECT count(*) FROM set_version") == 0

        await real_ledger.manifests.insert(KEY, source(2), manifest(2))
        await decisions.decide(KEY)
        assert await connection.fetchval("SELECT problem FROM business_set") is None
        assert await connection.fetchval("SELECT count(*) FROM set_version") == 1


async def flags(ledger: Ledger, key: SetKey = KEY) -> tuple[bool, bool, bool]:
    async with ledger.sets.locked(key) as locked:
        view = await locked.view()
        return view.has_manifest, view.is_totals_note_due, view.has_unsent


async def test_the_view_says_what_else_a_decision_has_to_ask_for_and_to_do(ledger: Ledger) -> None:
    tax = all_rules()["tax"]
    problem = {"rule": "control_totals", "state": "blocked", "message": "", "deliveries": {}}
    await ledger.version("acme")
    assert await flags(ledger) == (False, False, False)
    await ledger.manifests.insert(KEY, source(1), Rejected("no JSON", rule="json"))
    assert await flags(ledger) == (False, True, False)
    await ledger.manifests.insert(KEY, source(2), manifest(1))
    assert await flags(ledger) == (True, True, False)
    async with ledger.sets.locked(KEY) as locked:
        await locked.set_totals_problem(problem)
    assert await flags(ledger) == (True, True, False)
    async with ledger.sets.locked(KEY) as locked:
        await locked.set_totals_problem(None)
        await locked.announce(1, tax)
    assert await flags(ledger) == (True, False, True)
    await ledger.sets.mark_readiness_sent(KEY, [(1, tax.name)])
    assert await flags(ledger) == (True, False, False)
    assert await flags(ledger, SetKey("zen", DAY)) == (False, False, False)
