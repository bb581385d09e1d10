"""Small files in a few variants, good and broken, and what is true of each: computed from its rows alone."""

import gzip
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from uuid import UUID

from tests.kills.sets import COLUMNS, ENTITIES, MONEY, FileSet, Row

VARIANTS = 5
"""Per entity: the first file, three good corrections, and one that leaves records of other files without a counterpart."""
FAULTS = ("cell", "twice", "header")
NATURAL_KEY = {
    "accounts": "account_number",
    "clients": "client_reference",
    "portfolios": "portfolio_reference",
    "transactions": "transaction_reference",
}
MANDATORY = set(NATURAL_KEY.values())


@dataclass(frozen=True)
class Content:
    """One file."""

    entity: str
    rows: tuple[Row, ...]
    fault: str = ""
    """``cell``: an amount or reference is none; ``twice``: a record is there twice; ``header``: columns are missing."""

    @cached_property
    def data(self) -> bytes:
        """The file as it is uploaded."""
        header = tuple("other" if self.fault == "header" and name in MANDATORY else name for name in COLUMNS[self.entity])
        return "".join(",".join(row) + "\n" for row in (header, *self._records)).encode()

    @property
    def compressed(self) -> bytes:
        """The same content as gzip, the same bytes every time."""
        return gzip.compress(self.data, mtime=0)

    @property
    def is_readable(self) -> bool:
        """Whether the file as a whole is accepted."""
        return self.fault != "header"

    @property
    def record_count(self) -> int:
        """Records in the file."""
        return len(self._records)

    @cached_property
    def stored(self) -> tuple[Row, ...]:
        """The records that are stored as rows."""
        good = self.rows
        place = COLUMNS[self.entity].index(NATURAL_KEY[self.entity])
        copies = Counter(row[place] for row in self._records)
        return tuple(row for row in good if copies[row[place]] == 1)

    @property
    def quarantined_count(self) -> int:
        """Records that broke a rule, every copy of a duplicate among them."""
        return self.record_count - len(self.stored)

    @property
    def sums(self) -> dict[str, Decimal]:
        """Sums of the stored rows by money column."""
        names = COLUMNS[self.entity]
        return {
            name: sum((Decimal(row[names.index(name)]) for row in self.stored), Decimal(0)) for name in names if name in MONEY
        }

    @property
    def sha256(self) -> str:
        """Of the plain content, in hexadecimal."""
        return sha256(self.data).hexdigest()

    @property
    def _records(self) -> tuple[Row, ...]:
        match self.fault:
            case "cell":
                bad = tuple("NaN" if name in MONEY else "" for name in COLUMNS[self.entity])
                return (*self.rows[:1], bad, *self.rows[1:])
            case "twice":
                return (*self.rows, *self.rows[:1])
        return self.rows


Choice = Mapping[str, Content]
"""By entity, the file that counts."""


def orphan_count(choice: Choice) -> int:
    """Records that refer to nothing and therefore block their set."""
    columns = {
        (entity, name): [row[COLUMNS[entity].index(name)] for row in choice[entity].stored]
        for entity in ENTITIES
        for name in COLUMNS[entity]
    }
    accounts, clients = set(columns["accounts", "account_number"]), set(columns["clients", "client_reference"])
    users = columns["portfolios", "account_number"] + columns["transactions", "account_number"]
    return sum(one not in accounts for one in users) + sum(
        one not in clients for one in columns["portfolios", "client_reference"]
    )


def values_of(tenant: str, choice: Choice) -> dict[tuple[str, str], Mapping[str, object]]:
    """By outbound topic and reference, what the systems downstream must hold in the end."""
    files = FileSet(tenant, {entity: content.stored for entity, content in choice.items()})
    return {(topic, reference): values for topic, found in files.outbound.items() for reference, values in found.items()}


@dataclass(frozen=True)
class SetFiles:
    """The variants of one set's files; equal seeds give equal files."""

    seed: str

    def content(self, entity: str, variant: int) -> Content:
        """A variant of a file, 0 being the first."""
        return Content(entity, self._variants[entity][variant % VARIANTS])

    def broken(self, entity: str, variant: int, fault: str) -> Content:
        """A variant with a fault."""
        return replace(self.content(entity, variant), fault=fault)

    @cached_property
    def _variants(self) -> dict[str, tuple[tuple[Row, ...], ...]]:
        chance = random.Random(self.seed)
        accounts = tuple(_row(i, f"0{i}{chance.randrange(10**4):04d}", _amount(chance), "EUR", _amount(chance)) for i in range(3))
        clients = tuple(_row(i, f"First{i}", "Müller", _uuid(chance), _amount(chance)) for i in range(3))
        owners = [(accounts[a][1], clients[c][3]) for a, c in ((0, 0), (1, 0), (1, 1), (2, 1))]
        portfolios = tuple(_row(i, account, _uuid(chance), client, "AGENT") for i, (account, client) in enumerate(owners))
        transactions = tuple(
            _row(i, accounts[i % 2][1], f"t{i}", _amount(chance), chance.choice(("DEPOSIT", "DEPOSIT", "FEE"))) for i in range(6)
        )
        first, stranger = accounts[0], "unknown"
        return {
            "accounts": (
                accounts,
                ((*first[:2], "0.5", *first[3:]), *accounts[1:]),
                (*accounts[:2], (*accounts[2][:3], "USD", "7.0001")),
                (*accounts, _row(9, "spare", "1", "CHF", "1")),
                accounts[1:],
            ),
            "clients": (
                clients,
                ((*clients[0][:4], "12345.67"), *clients[1:]),
                (*clients, _row(9, "Ann", "Other", _uuid(chance), "10")),
                (clients[0], (*clients[1][:2], "Meier", *clients[1][3:]), *clients[2:]),
                clients[1:],
            ),
            "portfolios": (
                portfolios,
                portfolios[:-1],
                (*portfolios, _row(9, accounts[0][1], _uuid(chance), clients[2][3], "NEW")),
                (*portfolios[:-1], (*portfolios[-1][:3], clients[0][3], "MOVED")),
                (*portfolios[:-1], (portfolios[-1][0], stranger, *portfolios[-1][2:])),
            ),
            "transactions": (
                transactions,
                (*transactions, _row(9, accounts[2][1], "t9", "0.0001", "DEPOSIT")),
                transactions[1:],
                (),
                (*transactions, _row(9, stranger, "t9", "1", "FEE")),
            ),
        }


def _row(*cells: object) -> Row:
    return tuple(map(str, cells))


def _amount(chance: random.Random) -> str:
    return f"{chance.randrange(5000)}.{chance.randrange(100):02d}"


def _uuid(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))
