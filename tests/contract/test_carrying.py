"""A corrected set takes over what nothing has changed for, and what goes out is what computing everything would have sent."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.contracts import DEFAULT, Contract
from dataharvest.deliveries import SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.outbound import all_outbound
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.carrying import LINKS_FROM, ORPHANS_FROM, declaration
from dataharvest.stages.fan_out import fan_out
from dataharvest.stages.work import work_on
from tests.contract.ledgers import DAY, FILES, Ledger, judge_of
from tests.contract.test_frames import content, files, reference

KEY = SetKey("acme", DAY)
BIG = files(orphans=False)
WITH_ORPHANS = files(orphans=True)
EVERYTHING = {RELATIONSHIP: {"links", "orphans"}, "sum_of_deposits": {"values"}, "tax": {"values"}, "transactions": {"values"}}
ALWAYS = {"outbound.clients": {"messages"}, "outbound.portfolios": {"messages"}}

Corrections = Mapping[str, bytes]


class Publisher:
    """Takes one version of the set after the other from its files to its messages, by the stages themselves."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.sender = MemorySender()
        self.judge = replace(judge_of(ledger, self.sender), contract_of=_allows_orphans)
        self.deliveries: dict[str, int] = {}
        self.version = 0

    async def make(self, corrections: Corrections) -> None:
        """The next version, of these new files and the others as they were."""
        self.version += 1
        age_s = -self.version
        made = {name: await self.ledger.complete("acme", name, text, age_s=age_s) for name, text in corrections.items()}
        self.deliveries |= made
        async with self.ledger.sets.locked(KEY) as locked:
            await locked.create_version(self.version, self.deliveries)

    async def run(self, *rules: str) -> dict[str, list[Batch]]:
        """Do these rules, or all; their batches."""
        found = {}
        for name in rules or all_rules():
            ready = RuleReady(tenant="acme", business_date=DAY, version=self.version, rule=name)
            await fan_out(ready.encode(), work=self.ledger.work, sender=self.sender)
            found[name] = await self._batches(ready)
            for batch in found[name]:
                await work_on(batch.encode(), work=self.ledger.work, sender=self.sender, judge=self.judge)
            await self.ledger.sets.confirm_done(KEY, self.version, all_rules()[name])
        return found

    async def _batches(self, ready: RuleReady) -> list[Batch]:
        sent = [json.loads(one.value) for one in self.sender.sent if one.topic == "work"]
        [count] = {one["batch_count"] for one in sent if (one["version"], one["rule"]) == (ready.version, ready.rule)}
        named = ready.model_dump(include={"tenant", "business_date", "version", "rule"})
        return [Batch(**named, batch=index, batch_count=count) for index in range(count)]

    async def publish(self, corrections: Corrections) -> dict[str, set[str]]:
        """Make a version, do all its rules, and let it be published; what was taken over, by rule."""
        await self.make(corrections)
        carried = {name: await self.carried(batches[0]) for name, batches in (await self.run()).items()}
        await self.set_published()
        return {name: names for name, names in carried.items() if names}

    async def set_published(self) -> None:
        async with self.ledger.sets.locked(KEY) as locked:
            await locked.set_published(self.version)

    async def carried(self, batch: Batch) -> set[str]:
        async with self.ledger.work.open_batch(batch) as locked:
            assert locked is not None
            return set(locked.opened.carried)

    def sent(self, version: int) -> list[dict[str, Any]]:
        """What went out for a version."""
        found = [json.loads(one.value) for one in self.sender.sent if one.topic.startswith("outbound.")]
        return [one for one in found if one["version"] == version]

    def held(self) -> dict[str, dict[str, Any]]:
        """By reference, what a consumer holds now."""
        found: dict[str, dict[str, Any]] = {}
        for one in [one for version in range(1, self.version + 1) for one in self.sent(version)]:
            values = {name: value for name, value in one.items() if name not in ("message_id", "version", "supersedes")}
            found[one.get("client_reference") or one["portfolio_reference"]] = values
        return {name: values for name, values in found.items() if not values.get("withdrawn")}


async def _allows_orphans(tenant: str, version: int) -> Contract:
    return DEFAULT.model_copy(update={"orphans_block": frozenset()})


def other(entity: str, old: bytes, new: bytes, files: Corrections = BIG) -> dict[str, bytes]:
    """A corrected file."""
    assert old in files[entity]
    return {entity: files[entity].replace(old, new)}


async def test_a_changed_balance_sends_its_portfolios_only_and_the_rest_is_taken_over(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    assert await publisher.publish(BIG) == {}
    carried = await publisher.publish(other("accounts", b",0003,5,", b",0003,6,"))
    # Tax reads accounts, but not their balances.
    assert carried == {**EVERYTHING, **ALWAYS}
    assert {one["portfolio_reference"] for one in publisher.sent(2)} == {reference("b", 3), reference("b", 19)}
    assert {one["cash_balance"] for one in publisher.sent(2)} == {"6.00"}


async def test_taxes_that_were_paid_send_the_account_s_clients_only(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    carried = await publisher.publish(other("accounts", b",0003,5,EUR,0", b",0003,5,EUR,2"))
    assert carried == {name: names for name, names in {**EVERYTHING, **ALWAYS}.items() if name != "tax"}
    assert {one["client_reference"] for one in publisher.sent(2)} == {reference("c", 3), reference("c", 9)}
    assert {one["taxes_paid"] for one in publisher.sent(2)} == {"2.00"}


async def test_a_booked_fee_leaves_tax_as_it_is(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    carried = await publisher.publish({"transactions": BIG["transactions"] + b"99,0003,t99,1,FEE\n"})
    assert carried == {RELATIONSHIP: {"links"}, "tax": {"values"}, **ALWAYS}
    found = {one["portfolio_reference"]: one["number_of_transactions"] for one in publisher.sent(2)}
    assert found == {reference("b", 3): 4, reference("b", 19): 4}


async def test_the_same_set_once_more_sends_nothing(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(WITH_ORPHANS)
    assert await publisher.publish(other("accounts", b"\n1,", b"\n101,", WITH_ORPHANS)) == {**EVERYTHING, **ALWAYS}
    assert publisher.sent(2) == []


@pytest.mark.parametrize(("at_once", "in_one"), [(24, {RELATIONSHIP, "sum_of_deposits", "transactions"}), (23, set())])
async def test_what_is_only_copied_is_one_batch_unless_it_is_very_much(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, at_once: int, in_one: set[str]
) -> None:
    for name in ("RECORDS_PER_BATCH", "RECORDS_PER_SLICE"):
        monkeypatch.setattr(f"dataharvest.rules.batching.{name}", 7)
    monkeypatch.setattr("dataharvest.rules.batching.CARRIED_AT_ONCE", at_once)
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    await publisher.make(other("accounts", b",0003,5,EUR,0", b",0003,5,EUR,2"))
    batches = await publisher.run(*EVERYTHING, *ALWAYS)
    assert {name for name in EVERYTHING if len(batches[name]) == 1} == in_one
    assert {one["taxes_paid"] for one in publisher.sent(2)} == {"2.00"}


@pytest.mark.parametrize("seed", range(12))
async def test_what_goes_out_is_what_the_last_files_alone_lead_to(
    ledger: Ledger, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = random.Random(seed)
    for name in ("RECORDS_PER_BATCH", "RECORDS_PER_SLICE", "MESSAGES_PER_BATCH"):
        monkeypatch.setattr(f"dataharvest.rules.batching.{name}", choice.choice((7, 30, 1_000_000)))
    monkeypatch.setattr("dataharvest.rules.batching.CARRIED_AT_ONCE", choice.choice((1, 500_000)))
    for place in ("postgres.carrying", "memory_carrying"):
        monkeypatch.setattr(f"dataharvest.adapters.{place}.CHANGED_AT_MOST", choice.choice((1, 10_000)))
        monkeypatch.setattr(f"dataharvest.adapters.{place}.COMPARED_AT_MOST", choice.choice((20, 1_000_000)))
    publisher, last = Publisher(ledger), dict(choice.choice((BIG, WITH_ORPHANS)))
    await publisher.publish(last)
    for number in range(4):
        corrections = corrected(last, choice, number)
        last |= corrections
        await publisher.publish(corrections)
    assert publisher.held() == expected(last)
    async with ledger.sets.locked(KEY) as locked:
        # A new edition has no base: everything is computed, and nothing comes out that was not sent.
        await locked.raise_edition()
    assert await publisher.publish({}) == {}
    assert publisher.sent(publisher.version) == []


def corrected(files: Corrections, choice: random.Random, number: int) -> dict[str, bytes]:
    """One or two of the files, with records added, left out or changed."""
    return {
        name: _corrected(files[name], name, choice, number) for name in choice.sample(sorted(files), choice.choice((1, 1, 2)))
    }


def _corrected(text: bytes, entity: str, choice: random.Random, number: int) -> bytes:
    header, *lines = text.decode().splitlines()
    at = choice.randrange(len(lines))
    kind = choice.choice(("change", "leave out", "add", "renumber"))
    if kind == "leave out" and len(lines) > 3:
        del lines[at]
    elif kind == "renumber":
        lines[at] = f"{number}0{lines[at]}"
    elif kind == "add" and entity == "transactions":
        lines.append(f"9{number},{choice.choice(('0003', '0007'))},n{number},{choice.randrange(99)}.5,DEPOSIT")
    else:
        lines[at] = _changed(lines[at], entity, number)
    return "\n".join([header, *lines, ""]).encode()


def _changed(line: str, entity: str, number: int) -> str:
    cells = line.split(",")
    match entity:
        case "accounts":
            cells[2], cells[4] = f"{number}.75", f"{number}"
        case "clients":
            cells[3 if len(cells) == 4 else 4] = f"{900 + number}"
        case "portfolios":
            cells[4] = f"AGENT{number}"
        case "transactions":
            cells[3] = f"{number}.25"
    return ",".join(cells)


def expected(files: Corrections) -> dict[str, dict[str, Any]]:
    """What a consumer holds, by reading the files."""
    records = {name: [_record(text, line) for line in text.decode().splitlines()[1:] if line] for name, text in files.items()}
    accounts = {one["account_number"]: one for one in records["accounts"]}
    clients = {one["client_reference"]: one for one in records["clients"]}
    owned = [one for one in records["portfolios"] if one["account_number"] in accounts and one["client_reference"] in clients]
    found = {one["portfolio_reference"]: _portfolio(one, accounts, records["transactions"]) for one in owned}
    return found | {name: _client(one, owned, accounts) for name, one in clients.items()}


def _record(text: bytes, line: str) -> dict[str, str]:
    return dict(zip(text.decode().splitlines()[0].split(","), line.split(","), strict=True))


def _portfolio(
    one: Mapping[str, str], accounts: Mapping[str, Mapping[str, str]], transactions: list[dict[str, str]]
) -> dict[str, Any]:
    booked = [row for row in transactions if row["account_number"] == one["account_number"]]
    account = accounts[one["account_number"]]
    return {
        "tenant": "acme",
        "business_date": DAY.isoformat(),
        "portfolio_reference": one["portfolio_reference"],
        "cash_balance": money(float(account["cash_balance"])),
        "currency": account["currency"],
        "number_of_transactions": len(booked),
        "sum_of_deposits": money(sum(float(row["amount"]) for row in booked if row["keyword"] == "DEPOSIT")),
    }


def _client(one: Mapping[str, str], owned: list[dict[str, str]], accounts: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    numbers = {row["account_number"] for row in owned if row["client_reference"] == one["client_reference"]}
    paid = sum(float(accounts[number]["taxes_paid"]) for number in numbers)
    allowance = float(one["tax_free_allowance"])
    return {
        "tenant": "acme",
        "business_date": DAY.isoformat(),
        "client_reference": one["client_reference"],
        "tax_free_allowance": money(allowance),
        "taxes_paid": money(paid),
        "tax_free_allowance_left": money(max(0.0, allowance - paid)),
    }


def money(amount: float) -> str:
    """Quarters are exact in binary, too."""
    return f"{amount:.2f}"


async def test_values_by_another_declaration_are_computed_anew(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    for rule in ("transactions", "outbound.clients"):
        batch = Batch(tenant="acme", business_date=DAY, version=1, rule=rule, batch=0, batch_count=1)
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            await locked.mark_computed(made_by="an older one")
    carried = await publisher.publish(other("accounts", b",0003,5,", b",0003,6,"))
    assert carried == {
        name: names for name, names in {**EVERYTHING, **ALWAYS}.items() if name not in ("transactions", "outbound.clients")
    }
    # What was taken over says by what it was made in the first place.
    carried = await publisher.publish(other("accounts", b",0003,5,", b",0003,7,"))
    assert carried == {**EVERYTHING, **ALWAYS}


async def test_what_workers_of_two_versions_made_together_is_compared_as_a_whole(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = all_outbound()["outbound.portfolios"]

    def build(**frames: pl.DataFrame) -> pl.DataFrame:
        return newer.build(**frames).with_columns(currency=pl.lit("OLD"))

    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    files = {**BIG, **other("accounts", b",0003,5,", b",0003,6,")}
    await publisher.make({"accounts": files["accounts"]})
    with monkeypatch.context() as patched:
        # Planned by a worker of this version, and made by one of an older version that has not ended yet.
        older = {**all_outbound(), newer.topic: replace(newer, build=build, logic_version=0)}
        patched.setattr("dataharvest.stages.work.all_outbound", lambda: older)
        await publisher.run()
    await publisher.set_published()
    assert {one["currency"] for one in publisher.sent(2)} == {"OLD"}
    carried = await publisher.publish(other("accounts", b"\n1,", b"\n101,", files))
    assert "outbound.portfolios" not in carried
    assert publisher.held() == expected(files)


RELATED_WHILE_ROWS_COULD_BE_LOST = declaration("relationship", 1, dict(LINKS_FROM), dict(ORPHANS_FROM))


@pytest.mark.parametrize("related_by", ["an older one", RELATED_WHILE_ROWS_COULD_BE_LOST])
async def test_a_set_that_was_related_by_another_declaration_is_related_anew(ledger: Ledger, related_by: str) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    batch = Batch(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP, batch=0, batch_count=1)
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        await locked.mark_computed(made_by=related_by)
    assert await publisher.publish(other("accounts", b",0003,5,", b",0003,6,")) == {}
    assert len(publisher.sent(2)) == 2


async def test_changed_keys_change_the_links_and_nothing_is_taken_over(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    fewer = b"".join(BIG["portfolios"].splitlines(keepends=True)[:-1])
    assert await publisher.publish({"portfolios": fewer}) == {}
    assert [one.get("withdrawn") for one in publisher.sent(2)] == [True]


async def test_another_agent_changes_no_value(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    carried = await publisher.publish(other("portfolios", b",A", b",B"))
    assert carried == {**EVERYTHING, **ALWAYS}
    assert publisher.sent(2) == []


async def test_a_version_has_no_base_that_is_not_published_or_of_another_edition(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.make(BIG)
    await publisher.run()
    changes = (b",0003,6,", b",0003,7,", b",0003,8,")
    # It has begun to publish, so it stays; but of its messages nobody knows yet which are out.
    await publisher.make(other("accounts", b",0003,5,", changes[0]))
    assert [await publisher.carried(one) for one in (await publisher.run(RELATIONSHIP))[RELATIONSHIP]] == [set()]
    publisher.version = 1
    await publisher.set_published()
    publisher.version = 2
    # The rows of the published version's accounts are superseded and nobody's base: they may be removed at any time.
    await publisher.make(other("accounts", b",0003,5,", changes[1]))
    assert [await publisher.carried(one) for one in (await publisher.run(RELATIONSHIP))[RELATIONSHIP]] == [set()]
    await publisher.run()
    await publisher.set_published()
    async with ledger.sets.locked(KEY) as locked:
        await locked.raise_edition()
    assert await publisher.publish(other("accounts", b",0003,5,", changes[2])) == {}
    assert len(publisher.sent(4)) == 2


async def test_the_rows_of_a_base_stay_until_the_version_beside_it_is_out(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    first = publisher.deliveries["accounts"]
    await publisher.make(other("accounts", b",0003,5,", b",0003,6,"))
    second = publisher.deliveries["accounts"]
    assert await ledger.removals.due(KEY) == []
    assert not await ledger.removals.remove(first)
    # The version is cancelled for the next one, which has the same base.
    assert await publisher.publish(other("accounts", b",0003,5,", b",0003,7,")) != {}
    assert {one["cash_balance"] for one in publisher.sent(3)} == {"7.00"}
    assert sorted(await ledger.removals.due(KEY)) == [first, second]
    assert await ledger.removals.remove(first)


async def test_what_is_done_twice_is_taken_over_once(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish(BIG)
    await publisher.make(other("accounts", b",0003,5,", b",0003,6,"))
    await publisher.run()
    await publisher.run()
    assert publisher.held() == expected({**BIG, **other("accounts", b",0003,5,", b",0003,6,")})
    assert len(publisher.sent(2)) == 2


async def test_rows_that_move_while_a_half_is_taken_over_leave_the_links_whole(
    real_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataharvest.rules.batching.RECORDS_PER_SLICE", 25)
    publisher = Publisher(real_ledger)
    await publisher.publish(WITH_ORPHANS)
    added = WITH_ORPHANS["transactions"] + b"99,6666,t99,1,FEE\n"
    await publisher.make({"transactions": added})
    ready = RuleReady(tenant="acme", business_date=DAY, version=2, rule=RELATIONSHIP)
    await fan_out(ready.encode(), work=real_ledger.work, sender=publisher.sender)
    assert real_ledger.database is not None
    batches = await publisher._batches(ready)
    assert len(batches) > 3
    for batch in batches:
        await work_on(batch.encode(), work=real_ledger.work, sender=publisher.sender, judge=publisher.judge)
        async with real_ledger.database.connection() as connection:
            await connection.execute("VACUUM FULL row_transactions")
    async with real_ledger.database.connection() as connection:
        links = "SELECT version, count(*), count(DISTINCT portfolio_reference) FROM link JOIN set_version USING (set_version_id)"
        assert [tuple(row) for row in await connection.fetch(f"{links} GROUP BY 1 ORDER BY 1")] == [(1, 24, 24), (2, 24, 24)]
        orphans = "SELECT record_count FROM orphan_count JOIN set_version USING (set_version_id) WHERE version = 2 AND kind = $1"
        assert await connection.fetchval(orphans, "transactions without an account") == 2
        assert await connection.fetchval(orphans, "portfolios without an account") == 1


async def test_an_empty_file_beside_one_with_records_is_another(ledger: Ledger) -> None:
    publisher = Publisher(ledger)
    await publisher.publish({**FILES})
    await publisher.publish({"transactions": content("account_number,transaction_reference,amount,keyword", [])})
    assert {one["number_of_transactions"] for one in publisher.sent(2)} == {0}
