"""Repairs on the whole journey: a record leaves the quarantine, and its set goes on by itself."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from dataharvest.adapters.memory_locked_judgement import require_conservation
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import EditionRaised
from dataharvest.quarantine import Entry, Selection, Signature
from dataharvest.quarantine_text import report_lines
from dataharvest.stages.repair_report import Report
from tests.agents.test_corrections import Story, values_of
from tests.agents.worlds import BUCKET, example_files

FILES = example_files()
ACCOUNTS, CLIENTS, PORTFOLIOS, TRANSACTIONS = FILES
KEY = SetKey("acme", date(2026, 11, 23))
ANNA = Signature(who="anna", why="the bank called")
BEN = Signature(who="ben", why="the bank called me too")
GOOD = b"99,23456789,t99,12.50,DEPOSIT"
BAD = b"99,23456789,t99,1E+5,DEPOSIT"
WITH_GOOD = {**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + GOOD + b"\n"}
WITH_BAD = {**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + BAD + b"\n"}
EVERYTHING = Selection()


async def blocked(files: Mapping[str, bytes] = WITH_BAD, contract: Contract | None = None) -> Story:
    story = Story()
    if contract:
        await story.world.services.contracts.apply("acme", contract)
    await story.upload(dict(files))
    return story


async def entries(story: Story, **selection: Any) -> list[Entry]:
    return await story.world.quarantine.entries(Selection(**selection))


def counts(story: Story) -> dict[str, tuple[int, ...]]:
    """Read, persisted, quarantined, duplicate and accepted, by entity of what counts; each adds up."""
    found: dict[str, tuple[int, ...]] = {}
    for row in story.world.ledger.deliveries.values():
        if row.state == "complete" and row.entity:
            require_conservation(row)
            read = sum(checked.record_count for _, checked in row.chunks.values())
            others = sum(row.duplicates.values()), sum(row.accepted.values())
            found[row.entity] = (read, row.persisted_count, row.quarantined_count, *others)
    return found


def results(report: Report) -> dict[int, str]:
    return {one.entry.quarantine_id: one.result for one in report.outcomes}


async def test_a_fixed_record_is_a_row_like_any_other_and_its_set_goes_out() -> None:
    story = await blocked()
    assert KEY not in story.world.ledger.versions or story.version_states() == []
    [bad] = await entries(story)
    report = await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    assert results(report) == {bad.quarantine_id: "fixed"}
    assert report.editions == {KEY: 1}
    await story.upload({})
    assert story.version_states() == ["published"]
    assert story.held() == await values_of(WITH_GOOD)
    [line] = await story.world.quarantine.history(EVERYTHING)
    assert (line.who, line.why, line.action, line.original, line.content) == ("anna", ANNA.why, "fix", BAD, GOOD)
    read, persisted, *others = counts(story)["transactions"]
    assert (read, others) == (persisted, [0, 0, 0])


async def test_an_accepted_record_is_left_out_and_its_set_goes_out() -> None:
    story = await blocked()
    [bad] = await entries(story)
    report = await story.world.repairs.accept(Selection(tenant="acme", business_date=KEY.business_date), by=ANNA)
    assert results(report) == {bad.quarantine_id: "accepted"}
    await story.upload({})
    assert story.held() == await values_of(FILES)
    read, persisted, *others = counts(story)["transactions"]
    assert (read, others) == (persisted + 1, [0, 0, 1])


async def test_the_same_again_changes_nothing() -> None:
    story = await blocked()
    [bad] = await entries(story)
    for number in range(2):
        report = await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
        assert report.outcomes[0].result == ("unchanged" if number else "fixed")
        await story.upload({})
    replayed = await story.world.repairs.replay(Selection(ids=(bad.quarantine_id,)), by=ANNA)
    assert results(replayed) == {bad.quarantine_id: "unchanged"}
    assert story.version_states() == ["published"]
    assert len(await story.world.quarantine.history(EVERYTHING)) == 1


async def test_whoever_selects_what_somebody_else_has_settled_is_told_by_whom() -> None:
    story = await blocked()
    [bad] = await entries(story)
    still_open = Selection(tenant="acme", business_date=KEY.business_date, state="open")
    await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    for report in (
        await story.world.repairs.replay(still_open, by=BEN),
        await story.world.repairs.accept(still_open, by=BEN),
    ):
        told, summary = report_lines(report, plan=False)
        assert f"entry {bad.quarantine_id}, the record of transactions from line {bad.line}: unchanged: fixed by anna at " in told
        assert summary == "1 unchanged"


async def test_where_nothing_was_ever_in_quarantine_that_is_said() -> None:
    story = await blocked(FILES)
    report = await story.world.repairs.replay(Selection(tenant="acme", state="open"), by=BEN)
    assert list(report_lines(report, plan=False)) == ["nothing to do: no record that is selected is in quarantine"]


async def test_a_plan_changes_nothing_and_says_what_would_become() -> None:
    story = await blocked()
    [bad] = await entries(story)
    sent = len(story.world.sender.sent)
    for report in (
        await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA, plan=True),
        await story.world.repairs.accept(EVERYTHING, by=ANNA, plan=True),
        await story.world.repairs.replay(EVERYTHING, by=ANNA, plan=True),
    ):
        assert report.outcomes[0].result in ("fixed", "accepted", "left")
    assert [one.state for one in await entries(story)] == ["open"]
    assert len(story.world.sender.sent) == sent
    assert story.world.ledger.editions.get(KEY, 0) == 0
    assert await story.world.quarantine.history(EVERYTHING) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BAD, "column amount, rule money"),
        (GOOD + b"\n" + GOOD, "one record is needed, and here are 2"),
        (b"", "there is no record"),
        (b"99,23456789", "rule too_few_fields"),
        (FILES[TRANSACTIONS].splitlines()[0], "rule repeated_header"),
        (FILES[TRANSACTIONS].splitlines()[1], "same transaction_reference is stored already"),
    ],
)
async def test_a_correction_is_checked_like_any_other_record(content: bytes, reason: str) -> None:
    story = await blocked()
    [bad] = await entries(story)
    with pytest.raises(Rejected, match=f"^Nothing was changed: entry {bad.quarantine_id}: .*{reason}"):
        await story.world.repairs.fix({bad.quarantine_id: content}, by=ANNA)
    assert [one.state for one in await entries(story)] == ["open"]


async def test_of_two_who_fix_the_same_record_the_second_is_told() -> None:
    story = await blocked()
    [bad] = await entries(story)
    await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    with pytest.raises(Rejected, match="is fixed by anna at .*nothing was changed"):
        await story.world.repairs.fix({bad.quarantine_id: GOOD.replace(b"12.50", b"13")}, by=BEN)
    with pytest.raises(Rejected, match="is fixed by anna at"):
        await story.world.repairs.accept(Selection(ids=(bad.quarantine_id,)), by=BEN)


async def test_an_entry_that_nobody_knows_is_named() -> None:
    story = await blocked()
    with pytest.raises(Rejected, match="There is no entry 4711 in the quarantine"):
        await story.world.repairs.fix({4711: GOOD}, by=ANNA)
    with pytest.raises(Rejected, match="There is no entry 4711 in the quarantine"):
        await story.world.repairs.accept(Selection(ids=(4711,)), by=ANNA)


async def test_a_newer_file_on_its_way_keeps_a_repair_from_being_lost_with_the_old_one() -> None:
    story = await blocked()
    [bad] = await entries(story)
    async with story.world.agents() as agents:
        await agents.upload({TRANSACTIONS: WITH_GOOD[TRANSACTIONS]})
        with pytest.raises(Rejected, match=r"A newer file of transactions, delivery 5, is being read \(registered\)"):
            await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    await story.upload({})
    with pytest.raises(Rejected, match="Delivery 4 of transactions was replaced: a newer file"):
        await story.world.repairs.accept(Selection(ids=(bad.quarantine_id,), with_superseded=True), by=ANNA)
    assert story.held() == await values_of(WITH_GOOD)


async def test_a_later_correction_drops_what_was_fixed_and_says_so() -> None:
    story = await blocked()
    [bad] = await entries(story)
    await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    await story.upload({}, {TRANSACTIONS: FILES[TRANSACTIONS]})
    assert story.held() == await values_of(FILES)
    first, second = await story.world.quarantine.history(Selection(with_superseded=True))
    assert (first.action, second.action, second.superseded_by) == ("fix", "drop", 5)
    assert second.why == "delivery 5 of transactions replaced delivery 4"


async def test_the_chunks_from_the_beginning_change_nothing_of_what_was_repaired() -> None:
    story = await blocked()
    [bad] = await entries(story)
    await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    await story.upload({})
    before = {number: dict(row.chunks) for number, row in story.world.ledger.deliveries.items()}
    outbound = len(story.world.outbound())
    async with story.world.agents() as agents:
        for one in [one for one in story.world.sender.sent if one.topic in ("chunks", "work", "progress")]:
            await agents.give(one.topic, one.value, key=one.key)
        await agents.run()
    assert {number: dict(row.chunks) for number, row in story.world.ledger.deliveries.items()} == before
    assert [one.state for one in await entries(story)] == ["fixed"]
    assert len(story.world.outbound()) == outbound


async def test_a_contract_that_was_corrected_lets_records_be_read_again() -> None:
    story = await blocked({**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + b'99,23456789,t99,"12,50",DEPOSIT\n'})
    [bad] = await entries(story)
    left = await story.world.repairs.replay(EVERYTHING, by=ANNA)
    assert (results(left), left.editions) == ({bad.quarantine_id: "left"}, {})
    assert "column amount, rule money" in left.outcomes[0].message
    await story.world.services.contracts.apply("acme", Contract(decimal_mark=","))
    replayed = await story.world.repairs.replay(EVERYTHING, by=ANNA)
    assert results(replayed) == {bad.quarantine_id: "fixed"}
    await story.upload({})
    assert story.held() == await values_of(WITH_GOOD)
    assert [one.contract_version for one in await story.world.quarantine.history(EVERYTHING)] == [1]


FIRST_AGAIN = FILES[TRANSACTIONS].splitlines()[1].replace(b"5000", b"7777")


async def test_copies_are_judged_again_under_a_contract_that_lets_one_win() -> None:
    story = await blocked({**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + FIRST_AGAIN + b"\n"})
    assert [one.rule for one in await entries(story)] == ["duplicate", "duplicate"]
    left = await story.world.repairs.replay(EVERYTHING, by=ANNA)
    assert set(results(left).values()) == {"left"}
    await story.world.services.contracts.apply("acme", Contract(duplicates="first_wins"))
    first, second = await entries(story)
    replayed = await story.world.repairs.replay(Selection(ids=(second.quarantine_id,)), by=ANNA)
    assert results(replayed) == {first.quarantine_id: "fixed", second.quarantine_id: "duplicate"}
    await story.upload({})
    assert story.held() == await values_of(FILES)


async def test_one_copy_may_be_chosen_and_the_other_accepted() -> None:
    changed = b"\n".join([*FILES[TRANSACTIONS].splitlines()[:1], FIRST_AGAIN, *FILES[TRANSACTIONS].splitlines()[2:], b""])
    story = await blocked({**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + FIRST_AGAIN + b"\n"})
    first, second = await entries(story)
    await story.world.repairs.fix({second.quarantine_id: second.raw}, by=ANNA)
    with pytest.raises(Rejected, match="stored already"):
        await story.world.repairs.fix({first.quarantine_id: first.raw}, by=BEN)
    await story.world.repairs.accept(Selection(ids=(first.quarantine_id,)), by=ANNA)
    await story.upload({})
    assert story.held() == await values_of({**FILES, TRANSACTIONS: changed})


@pytest.mark.parametrize("rule", ["first_wins", "last_wins"])
async def test_a_fixed_record_wins_or_loses_against_a_row_by_its_place_in_the_file(rule: str) -> None:
    header, first, *others = FILES[TRANSACTIONS].splitlines()
    broken, fixed = first.replace(b"5000", b"x"), first.replace(b"5000", b"7777")
    # The broken one stands before its twin.
    content = b"\n".join([header, broken, first, *others, b""])
    contract = Contract.model_validate({"duplicates": rule})
    story = await blocked({**FILES, TRANSACTIONS: content}, contract)
    [bad] = await entries(story)
    report = await story.world.repairs.fix({bad.quarantine_id: fixed}, by=ANNA)
    assert results(report) == {bad.quarantine_id: "fixed" if rule == "first_wins" else "duplicate"}
    winner = fixed if rule == "first_wins" else first
    await story.upload({})
    assert story.held() == await values_of({**FILES, TRANSACTIONS: b"\n".join([header, winner, *others, b""])})
    read, persisted, *left = counts(story)["transactions"]
    assert (read, left) == (persisted + 1, [0, 1, 0])


async def test_a_tail_is_replaced_by_the_records_it_should_have_been() -> None:
    tail = b'98,23456789,t98,"3,DEPOSIT\n' + GOOD + b"\n"
    story = await blocked({**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + tail})
    [bad] = await entries(story)
    assert (bad.rule, bad.record_count) == ("misaligned_tail", 1)
    with pytest.raises(Rejected, match="record 2: column amount, rule money"):
        await story.world.repairs.fix({bad.quarantine_id: b"98,23456789,t98,3,DEPOSIT\n" + BAD}, by=ANNA)
    await story.world.repairs.fix({bad.quarantine_id: b"98,23456789,t98,3,DEPOSIT\n" + GOOD}, by=ANNA)
    await story.upload({})
    whole = FILES[TRANSACTIONS] + b"98,23456789,t98,3,DEPOSIT\n" + GOOD + b"\n"
    assert story.held() == await values_of({**FILES, TRANSACTIONS: whole})
    read, persisted, *others = counts(story)["transactions"]
    assert (read, persisted, others) == (8, 8, [0, 0, 0])


async def test_without_its_object_a_record_can_be_accepted_and_not_read_again() -> None:
    story = await blocked()
    [bad] = await entries(story)
    story.world.objects._contents[BUCKET, TRANSACTIONS].clear()
    with pytest.raises(Rejected, match="can't be read any more"):
        await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    left = await story.world.repairs.replay(EVERYTHING, by=ANNA)
    assert "can't be read any more" in left.outcomes[0].message
    await story.world.repairs.accept(EVERYTHING, by=ANNA)
    await story.upload({})
    assert story.version_states() == ["published"]


async def test_a_hint_that_got_lost_is_found_by_the_sweep() -> None:
    story = await blocked()
    [bad] = await entries(story)
    await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    hint = EditionRaised(tenant="acme", business_date=KEY.business_date, edition=1).encode()
    story.world.sender.sent[:] = [one for one in story.world.sender.sent if one.value != hint]
    story.world.read_count = len(story.world.sender.sent)
    await story.world.services.sweep.once()
    await story.upload({})
    assert story.version_states() == ["published"]


async def test_copies_that_are_not_kept_one_by_one_are_judged_with_the_others() -> None:
    header, *_ = FILES[TRANSACTIONS].splitlines()
    # More keys than are named by line, each twice: the second always has another amount.
    rows = [f"{number},23456789,k{number % 130:03d},{1 + number // 130},DEPOSIT".encode() for number in range(260)]
    story = await blocked({**FILES, TRANSACTIONS: b"\n".join([header, *rows, b""])})
    many = [one for one in await entries(story, rule="duplicate") if one.stands_for_many]
    assert sum(one.record_count for one in many) == 60
    assert counts(story)["transactions"] == (260, 0, 260, 0, 0)
    with pytest.raises(Rejected, match="it stands for .* records"):
        await story.world.repairs.fix({many[0].quarantine_id: GOOD}, by=ANNA)
    assert set(results(await story.world.repairs.replay(EVERYTHING, by=ANNA)).values()) == {"left"}
    await story.world.services.contracts.apply("acme", Contract(duplicates="last_wins"))
    await story.world.repairs.replay(EVERYTHING, by=ANNA)
    assert counts(story)["transactions"] == (260, 130, 0, 130, 0)
    await story.upload({})
    assert story.held() == await values_of({**FILES, TRANSACTIONS: b"\n".join([header, *rows[130:], b""])})


async def test_of_several_deliveries_one_that_cannot_be_repaired_keeps_no_other_from_it() -> None:
    bad_account = b"9,99999999,NaN,EUR,0\n"
    story = await blocked({**WITH_BAD, ACCOUNTS: FILES[ACCOUNTS] + bad_account})
    account, transaction = await entries(story)
    async with story.world.agents() as agents:
        await agents.upload({TRANSACTIONS: FILES[TRANSACTIONS]})
        report = await story.world.repairs.accept(Selection(state="open"), by=ANNA)
    assert results(report) == {account.quarantine_id: "accepted"}
    assert len(report.refused) == 1
    assert "is being read (registered)" in report.refused[0]
    assert [one.state for one in await entries(story, entity="transactions")] == ["open"], transaction.quarantine_id


async def test_after_publication_a_repair_publishes_what_it_changes_and_nothing_else() -> None:
    story = await blocked(contract=Contract(quarantine_threshold=1))
    assert story.version_states() == ["published"]
    published = len(story.world.outbound())
    [bad] = await entries(story)
    await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    await story.upload({})
    assert story.version_states() == ["published", "published"]
    portfolios = [row for row in FILES[PORTFOLIOS].splitlines() if b",23456789," in row]
    assert len(story.world.outbound()) == published + len(portfolios)
    assert story.held() == await values_of(WITH_GOOD)


async def test_control_totals_are_compared_again_with_what_was_repaired() -> None:
    manifest = b'{"entities": {"transactions": {"records": 7, "sums": {"amount": "%s"}}}}'
    total = sum(Decimal(row.split(b",")[3].decode()) for row in WITH_GOOD[TRANSACTIONS].splitlines()[1:])
    story = await blocked({"acme/manifest_20261123.json": manifest % str(total).encode(), **WITH_BAD})
    [bad] = await entries(story)
    await story.world.repairs.fix({bad.quarantine_id: GOOD.replace(b"12.50", b"12.49")}, by=ANNA)
    await story.upload({})
    assert story.world.ledger.problems[KEY]["rule"] == "control_totals"
    assert "difference -0.01" in story.world.ledger.problems[KEY]["message"]

    story = await blocked({"acme/manifest_20261123.json": manifest % str(total).encode(), **WITH_BAD})
    await story.world.repairs.fix({bad.quarantine_id: GOOD}, by=ANNA)
    await story.upload({})
    assert story.version_states() == ["published"]
