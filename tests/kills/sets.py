"""Seeded sets of files, and what must come out of them, computed from the rows alone."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from uuid import UUID

ENTITIES = ("accounts", "clients", "portfolios", "transactions")
BUSINESS_DATE = "2026-11-23"
COLUMNS = {
    "accounts": ("record_id", "account_number", "cash_balance", "currency", "taxes_paid"),
    "clients": ("record_id", "first_name", "last_name", "client_reference", "tax_free_allowance"),
    "portfolios": ("record_id", "account_number", "portfolio_reference", "client_reference", "agent_code"),
    "transactions": ("record_id", "account_number", "transaction_reference", "amount", "keyword"),
}
MONEY = {"cash_balance", "taxes_paid", "tax_free_allowance", "amount"}

Row = tuple[str, ...]
Content = Mapping[str, object]


@dataclass(frozen=True)
class FileSet:
    """The four files of one tenant as rows of text; two equal seeds give two equal sets."""

    tenant: str
    rows: Mapping[str, tuple[Row, ...]]

    def file(self, entity: str) -> bytes:
        """The file as it is uploaded."""
        lines = (",".join(row) for row in (COLUMNS[entity], *self.rows[entity]))
        return ("\n".join(lines) + "\n").encode()

    def object_key(self, entity: str) -> str:
        """The key under which it is uploaded."""
        return f"{self.tenant}/in/{entity}_{BUSINESS_DATE.replace('-', '')}.csv"

    @property
    def row_count(self) -> int:
        """Records of all four files."""
        return sum(self.counts(entity)["record"] for entity in self.rows)

    def counts(self, entity: str) -> dict[str, int]:
        """What must become of the file's records."""
        count = len(self.rows[entity])
        return {"record": count, "persisted": count, "quarantined": 0, "duplicate": 0}

    def records(self, entity: str) -> Iterator[dict[str, str]]:
        """The rows by column name."""
        return (dict(zip(COLUMNS[entity], row, strict=True)) for row in self.rows[entity])

    @cached_property
    def outbound(self) -> dict[str, dict[str, Content]]:
        """Per topic and reference the values that must be sent."""
        return {"outbound.clients": self._clients(), "outbound.portfolios": self._portfolios()}

    def _clients(self) -> dict[str, Content]:
        taxes = {one["account_number"]: Decimal(one["taxes_paid"]) for one in self.records("accounts")}
        accounts: dict[str, set[str]] = {}
        for one in self.records("portfolios"):
            accounts.setdefault(one["client_reference"], set()).add(one["account_number"])
        found: dict[str, Content] = {}
        for client in self.records("clients"):
            allowance = Decimal(client["tax_free_allowance"])
            paid = sum((taxes[number] for number in accounts.get(client["client_reference"], ())), Decimal(0))
            found[client["client_reference"]] = {
                "tax_free_allowance": money(allowance),
                "taxes_paid": money(paid),
                "tax_free_allowance_left": money(max(Decimal(0), allowance - paid)),
            }
        return found

    def _portfolios(self) -> dict[str, Content]:
        accounts = {one["account_number"]: one for one in self.records("accounts")}
        counts: dict[str, int] = {}
        deposits: dict[str, Decimal] = {}
        for one in self.records("transactions"):
            number = one["account_number"]
            counts[number] = counts.get(number, 0) + 1
            if one["keyword"] == "DEPOSIT":
                deposits[number] = deposits.get(number, Decimal(0)) + Decimal(one["amount"])
        return {
            one["portfolio_reference"]: {
                "cash_balance": money(Decimal(accounts[one["account_number"]]["cash_balance"])),
                "currency": accounts[one["account_number"]]["currency"],
                "number_of_transactions": counts.get(one["account_number"], 0),
                "sum_of_deposits": money(deposits.get(one["account_number"], Decimal(0))),
            }
            for one in self.records("portfolios")
        }


def money(amount: Decimal) -> str:
    """Exact text with at least two decimals; written apart from the pipeline's own."""
    whole, _, decimals = f"{amount:.4f}".partition(".")
    while len(decimals) > 2 and decimals.endswith("0"):
        decimals = decimals[:-1]
    return f"{whole}.{decimals}"


def make_set(tenant: str, *, seed: str, file_bytes: int) -> FileSet:
    """A set whose transactions file is about ``file_bytes`` long."""
    chance = random.Random(seed)
    accounts = tuple(_account(chance, index) for index in range(40))
    clients = tuple(_client(chance, index) for index in range(30))
    portfolios = tuple(_portfolio(chance, index, accounts, clients) for index in range(50))
    transactions = tuple(_transaction(chance, index, accounts) for index in range(file_bytes // 36))
    return FileSet(tenant, {"accounts": accounts, "clients": clients, "portfolios": portfolios, "transactions": transactions})


def _amount(chance: random.Random, *, largest: int) -> str:
    decimals = chance.choice((0, 1, 2, 2, 2, 4))
    whole = chance.randrange(largest)
    return f"{whole}.{chance.randrange(10**decimals):0{decimals}d}" if decimals else str(whole)


def _uuid(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def _account(chance: random.Random, index: int) -> Row:
    balance, taxes = _amount(chance, largest=10**7), _amount(chance, largest=900)
    return str(index), f"{index:03d}{chance.randrange(10**5):05d}", balance, chance.choice(("EUR", "USD", "CHF")), taxes


def _client(chance: random.Random, index: int) -> Row:
    return str(index), f"First{index}", f"Müller{chance.randrange(1000)}", _uuid(chance), _amount(chance, largest=2000)


def _portfolio(chance: random.Random, index: int, accounts: tuple[Row, ...], clients: tuple[Row, ...]) -> Row:
    # The last clients own nothing and the last accounts belong to two portfolios.
    owner = chance.choice(clients[:-2])[3]
    return str(index), accounts[index % len(accounts)][1], _uuid(chance), owner, f"A{chance.randrange(10**4)}"


def _transaction(chance: random.Random, index: int, accounts: tuple[Row, ...]) -> Row:
    # The first account has none.
    keyword = chance.choice(("DEPOSIT", "WITHDRAWAL", "TAX", "FEE"))
    return str(index), chance.choice(accounts[1:])[1], f"t{index:06d}", _amount(chance, largest=10**6), keyword
