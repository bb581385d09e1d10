"""The seeded load and its oracle: three tenants, four files each, broken records and copies among the good, and a correction."""

import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from tests.kills.sets import COLUMNS, FileSet, Row, make_set

ROW_BYTES = 36
"""Of a transaction, about: how the small sets' size is given."""
SHARES = (0.2, 0.3, 0.5)
FEW_COPIES = 4
_TRANSACTIONS = "transactions"
_BROKEN = (
    b"x1,%s,NaN-1,NaN,FEE",
    b'x2,%s,q"uote,1.00,FEE',
    b"x3,%s,short",
    b"x4,%s,e-1,1E+20000000,DEPOSIT",
    b"x5,%s,nul\x00,1.00,FEE",
)


@dataclass(frozen=True)
class LoadedSet(FileSet):
    """A set whose transactions hold broken records and copies, if it says so; its contract lets both pass."""

    broken: tuple[bytes, ...] = ()
    """Records that break a rule."""
    copies: tuple[Row, ...] = ()
    """Records with the key of an earlier one, and another amount; the first one counts."""

    @property
    def contract(self) -> str:
        """The tenant's contract as YAML; empty for the defaults."""
        return "quarantine_threshold: 100\nduplicates: first_wins\n" if self.broken or self.copies else ""

    def file(self, entity: str) -> bytes:
        """The file as it is uploaded."""
        if entity != _TRANSACTIONS:
            return super().file(entity)
        lines = [",".join(row).encode() for row in (COLUMNS[entity], *self.rows[entity])]
        step = max(1, len(lines) // (len(self.broken) + 1))
        for number, one in enumerate(self.broken):
            lines.insert(1 + (number * step) % len(lines), one)
        return b"\n".join([*lines, *(",".join(row).encode() for row in self.copies)]) + b"\n"

    def counts(self, entity: str) -> dict[str, int]:
        """What must become of the file's records."""
        found = super().counts(entity)
        if entity != _TRANSACTIONS:
            return found
        quarantined, duplicate = len(self.broken), len(self.copies)
        return {**found, "record": found["record"] + quarantined + duplicate, "quarantined": quarantined, "duplicate": duplicate}

    def corrected(self) -> "LoadedSet":
        """The set with other amounts in a few deposits: some messages change, most do not."""
        rows = list(self.rows[_TRANSACTIONS])
        deposits = [index for index, row in enumerate(rows) if row[4] == "DEPOSIT"][:3]
        for index in deposits:
            row = rows[index]
            rows[index] = (*row[:3], str(Decimal(row[3]) + Decimal("0.01")), row[4])
        return replace(self, rows={**self.rows, _TRANSACTIONS: tuple(rows)})


def canary(tenant: str) -> str:
    """A mark in the tenant's records that must never appear with another tenant."""
    return f"canary-{tenant}"


def make_load(name: str, *, seed: str, row_count: int, copy_count: int = FEW_COPIES) -> list[LoadedSet]:
    """Three sets of together about so many records, and one with so many copies; tenants are named after the load."""
    return list(_sets(name, seed, [int(share * row_count) for share in SHARES], copy_count=copy_count))


def _sets(name: str, seed: str, sizes: Sequence[int], *, copy_count: int) -> Iterator[LoadedSet]:
    for letter, size in zip("abc", sizes, strict=True):
        tenant = f"{name}-{letter}"
        made = make_set(tenant, seed=f"{seed} {tenant}", file_bytes=max(20, size - 120) * ROW_BYTES)
        rows = {**made.rows, "clients": _marked(made, "clients", 2), "portfolios": _marked(made, "portfolios", 4)}
        one = LoadedSet(tenant, rows)
        chance = random.Random(f"{seed} {tenant} blemishes")
        yield _blemished(one, chance, copy_count=copy_count) if letter == "b" else one


def _marked(made: FileSet, entity: str, place: int) -> tuple[Row, ...]:
    return tuple((*row[:place], canary(made.tenant), *row[place + 1 :]) for row in made.rows[entity])


def _blemished(one: LoadedSet, chance: random.Random, *, copy_count: int) -> LoadedSet:
    rows = one.rows[_TRANSACTIONS]
    broken = tuple(pattern % rows[0][1].encode() for pattern in _BROKEN)
    return replace(one, broken=broken, copies=copies_of(rows, chance, count=copy_count))


def copies_of(rows: Sequence[Row], chance: random.Random, *, count: int) -> tuple[Row, ...]:
    """Copies of some transactions, of another amount; of one several where they are more than the transactions."""
    copied = chance.sample(rows, count) if count <= len(rows) else chance.choices(rows, k=count)
    return tuple((*row[:3], "0.07", row[4]) for row in copied)


async def apply_contract(one: LoadedSet, *, run: Callable[..., Awaitable[str]]) -> None:
    """Store the contract that the set's tenant needs, if it needs one; ``run`` runs a command."""
    if one.contract:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(one.contract)
            file.flush()
            await run("contract", "apply", file.name, "--tenant", one.tenant, "--yes")
