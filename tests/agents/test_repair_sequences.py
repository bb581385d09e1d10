"""Any mix of fixes, accepts, replays, other contracts and corrections keeps every count, and ends in the values of an oracle.

The oracle is a list of records and what became of each, kept apart from the program in plain Python.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataharvest.adapters.memory_locked_judgement import require_conservation
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.quarantine import Entry, Selection, Signature
from tests.agents.test_corrections import Story

KEY = SetKey("acme", date(2026, 11, 23))
BY = Signature(who="anna", why="the bank called")
CLIENT, PORTFOLIO = "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f", "90751f3a-0c6e-4a3e-9a55-1d2e3f405162"
OTHERS = {
    "acme/accounts_20261123.csv": b"record_id,account_number,cash_balance,currency,taxes_paid\n1,0012,7,EUR,0\n",
    "acme/clients_20261123.csv": f"record_id,client_reference,tax_free_allowance\n1,{CLIENT},5\n".encode(),
    "acme/portfolios_20261123.csv": (
        f"record_id,account_number,portfolio_reference,client_reference\n1,0012,{PORTFOLIO},{CLIENT}\n".encode()
    ),
}
TRANSACTIONS = "acme/transactions_20261123.csv"
HEADER = "record_id,account_number,transaction_reference,amount,keyword\n"
Rule = Literal["reject", "first_wins", "last_wins"]
Fate = Literal["open", "row", "duplicate", "accepted"]
FATES: tuple[Fate, ...] = ("row", "open", "duplicate", "accepted")


@dataclass
class Record:
    """A record of the file and what became of it."""

    key: str
    cell: str
    fate: Fate = "open"

    def amount(self, mark: str) -> Decimal | None:
        """None where the cell breaks a rule."""
        text = self.cell.strip('"')
        other = "," if mark == "." else "."
        return None if other in text or text == "x" else Decimal(text.replace(mark, "."))

    def text(self) -> str:
        return f"1,0012,{self.key},{self.cell},DEPOSIT"


@dataclass
class Oracle:
    """What has to become of the newest file."""

    rule: Rule = "reject"
    mark: str = "."
    """Of the tenant's contract now."""
    records: list[Record] = field(default_factory=list)
    read_rule: Rule = "reject"
    read_mark: str = "."
    """Of the contract that the file was registered under."""

    def load(self, records: list[Record]) -> None:
        self.records, self.read_rule, self.read_mark = records, self.rule, self.mark
        self._judge([one for one in records if one.amount(self.mark) is not None], self.rule)

    def fix(self, index: int, key: str, cell: str) -> bool:
        """Whether it is taken."""
        fixed = Record(key, cell)
        if fixed.amount(self.read_mark) is None or (self.read_rule == "reject" and key in self._rows()):
            return False
        self.records[index].key, self.records[index].cell = key, cell
        self._judge([self.records[index]], self.read_rule)
        return True

    def replay(self) -> None:
        waiting = [one for one in self.records if one.fate == "open" and one.amount(self.mark) is not None]
        self._judge(waiting, self.rule)
        if any(one.fate != "open" for one in waiting):
            # From now on an amount is what it was read as.
            self._normalise(waiting)

    def _normalise(self, read: list[Record]) -> None:
        for one in read:
            if one.fate != "open":
                one.cell = str(one.amount(self.mark))

    def _judge(self, waiting: list[Record], rule: Rule) -> None:
        for key in {one.key for one in waiting}:
            stored = [one for one in self.records if one.fate == "row" and one.key == key]
            rivals = [one for one in self.records if one in stored or (any(one is other for other in waiting) and one.key == key)]
            if rule != "reject":
                winner = rivals[0] if rule == "first_wins" else rivals[-1]
                for one in rivals:
                    one.fate = "row" if one is winner else "duplicate"
            elif len(rivals) == 1:
                rivals[0].fate = "row"

    def _rows(self) -> set[str]:
        return {one.key for one in self.records if one.fate == "row"}

    def counts(self) -> list[int]:
        return [sum(one.fate == fate for one in self.records) for fate in FATES]


def amount_of(one: Record) -> Decimal:
    return Decimal(one.cell.strip('"').replace(",", "."))


keys = st.sampled_from(["a", "b", "c", "d"])
cells = st.sampled_from(["10", "2.5", '"2,5"', "x"])
records = st.lists(st.builds(Record, keys, cells), max_size=6)
indexes = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("fix"), indexes, keys, cells),
    st.tuples(st.just("as it is"), indexes),
    st.tuples(st.just("accept"), indexes),
    st.tuples(st.just("replay")),
    st.tuples(st.just("contract"), st.sampled_from(["reject", "first_wins", "last_wins"]), st.sampled_from([".", ","])),
    st.tuples(st.just("correct"), records),
    st.tuples(st.just("everything again")),
)
sequences = st.lists(steps, max_size=6)


class Run:
    """The program and the oracle, side by side."""

    def __init__(self, story: Story | None = None) -> None:
        self.story = story or Story()
        self.oracle = Oracle()
        self.upload_count = 0

    async def all(self, first: list[Record], sequence: list[tuple[Any, ...]]) -> None:
        """Everything, checked after each step."""
        await self.upload(first)
        await self.check()
        for step in sequence:
            await self.take(step)
            await self.check()
        await self.finish()

    async def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case "fix", index, key, cell:
                await self._fix(index, key, cell)
            case "as it is", index:
                if (index := self._open(index)) is not None:
                    await self._fix(index, self.oracle.records[index].key, self.oracle.records[index].cell)
            case "accept", index:
                await self._accept(index)
            case ("replay",):
                await self.story.world.repairs.replay(Selection(state="open"), by=BY)
                self.oracle.replay()
            case "contract", rule, mark:
                self.oracle.rule, self.oracle.mark = rule, mark
                contract = Contract.model_validate({"duplicates": rule, "decimal_mark": mark})
                await self.story.world.services.contracts.apply("acme", contract)
            case "correct", new:
                await self.upload(new)
            case ("everything again",):
                await self._everything_again()
        await self.story.upload({})

    async def upload(self, new: list[Record]) -> None:
        self.upload_count += 1
        copied = [Record(one.key, one.cell) for one in new]
        lines = [one.text() + "\n" for one in copied]
        # A column that nobody knows makes each upload another content.
        header = HEADER.replace("\n", f",upload_{self.upload_count}\n")
        content = header + "".join(line.replace("\n", ",\n") for line in lines)
        await self.story.upload({**(OTHERS if self.upload_count == 1 else {}), TRANSACTIONS: content.encode()})
        self.oracle.load(copied)

    async def check(self) -> None:
        read, *found = await self.stored()
        assert found == self.oracle.counts()
        assert read == sum(found)

    async def stored(self) -> list[int]:
        """Of the newest file: records read, stored, in quarantine, dropped as duplicates and accepted."""
        row = self._delivery()
        require_conservation(row)
        read = sum(checked.record_count for _, checked in row.chunks.values())
        dropped, accepted = sum(row.duplicates.values()), sum(row.accepted.values())
        return [read, row.persisted_count, row.quarantined_count, dropped, accepted]

    async def newest_delivery_id(self) -> int:
        """Of the transactions."""
        return int(self._delivery().delivery_id)

    async def finish(self) -> None:
        """Accept what is still open; what goes out then is what the oracle says."""
        await self.story.world.repairs.accept(Selection(state="open"), by=BY)
        await self.story.upload({})
        rows = [one for one in self.oracle.records if one.fate == "row"]
        held = self.story.held()[PORTFOLIO]
        assert held["number_of_transactions"] == len(rows)
        assert Decimal(held["sum_of_deposits"]) == sum(map(amount_of, rows), Decimal(0))

    async def _fix(self, index: int, key: str, cell: str) -> None:
        if (place := self._open(index)) is None:
            return
        entry = await self._entry(place)
        try:
            await self.story.world.repairs.fix({entry.quarantine_id: f"1,0012,{key},{cell},DEPOSIT,".encode()}, by=BY)
            is_taken = True
        except Rejected as reason:
            assert reason.rule == "bad_correction"
            is_taken = False
        assert self.oracle.fix(place, key, cell) == is_taken

    async def _accept(self, index: int) -> None:
        if (place := self._open(index)) is not None:
            entry = await self._entry(place)
            await self.story.world.repairs.accept(Selection(ids=(entry.quarantine_id,)), by=BY)
            self.oracle.records[place].fate = "accepted"

    async def _entry(self, place: int) -> Entry:
        # The header is line 1.
        found = await self.story.world.quarantine.entries(Selection(delivery_id=await self.newest_delivery_id()))
        return next(one for one in found if one.line == place + 2)

    async def _everything_again(self) -> None:
        sent = [one for one in self.story.world.sender.sent if one.topic in ("chunks", "work", "readiness", "progress")]
        async with self.story.world.agents() as agents:
            for one in sent:
                await agents.give(one.topic, one.value, key=one.key)

    def _open(self, index: int) -> int | None:
        waiting = [place for place, one in enumerate(self.oracle.records) if one.fate == "open"]
        return waiting[index % len(waiting)] if waiting else None

    def _delivery(self) -> Any:
        rows = [one for one in self.story.world.ledger.deliveries.values() if one.entity == "transactions"]
        return next(one for one in reversed(rows) if one.state == "complete")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(first=records, sequence=sequences)
def test_any_mix_of_repairs_and_corrections_ends_as_the_oracle_says(first: list[Record], sequence: list[tuple[Any, ...]]) -> None:
    asyncio.run(Run().all(first, sequence))
