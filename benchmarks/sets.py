"""Whole sets of seeded files and what they add up to, computed without the pipeline."""

import argparse
import random
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from benchmarks.site import Site

HEADERS = {
    "accounts": "record_id,account_number,cash_balance,currency,taxes_paid\n",
    "clients": "record_id,first_name,last_name,client_reference,tax_free_allowance\n",
    "portfolios": "record_id,account_number,portfolio_reference,client_reference,agent_code\n",
    "transactions": "record_id,account_number,transaction_reference,amount,keyword\n",
}


@dataclass(frozen=True)
class SetFiles:
    """Files of one set by entity, and what must come out of them."""

    files: dict[str, Path]
    portfolio_count: int
    client_count: int
    balances: Decimal
    transaction_count: int
    deposits: Decimal

    @property
    def message_count(self) -> int:
        """Outbound messages of the first version."""
        return self.portfolio_count + self.client_count


def set_options(description: str | None) -> argparse.Namespace:
    """What the benchmarks of a whole set are asked with: ``portfolios``, ``transactions`` and ``rounds``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--portfolios", type=int, default=300_000)
    parser.add_argument("--transactions", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def write_set(folder: Path, *, portfolios: int, transactions: int, seed: int = 1, day: str = "20260102") -> SetFiles:
    """A set in which every portfolio has an account of its own and every client three portfolios."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    clients = max(1, portfolios // 3)
    files = {entity: folder / f"{entity}_{day}.csv" for entity in HEADERS}
    cents = [chance.randrange(10**8) for _ in range(portfolios)]
    owners = [_uuid(chance) for _ in range(clients)]
    _write(files["accounts"], "accounts", (f"{i},{10**7 + i},{_money(one)},EUR,{i % 900}.00" for i, one in enumerate(cents)))
    _write(files["clients"], "clients", (f"{i},First{i},Last{i},{one},801" for i, one in enumerate(owners)))
    rows = (f"{i},{10**7 + i},{_uuid(chance)},{owners[i % clients]},A{i % 1000}" for i in range(portfolios))
    _write(files["portfolios"], "portfolios", rows)
    deposits = 0
    with files["transactions"].open("w", encoding="ascii") as file:
        file.write(HEADERS["transactions"])
        for index in range(transactions):
            amount = chance.randrange(10**6)
            is_deposit = index % 3 == 0
            deposits += amount if is_deposit else 0
            keyword = "DEPOSIT" if is_deposit else "FEE"
            file.write(f"{index},{10**7 + index % portfolios},t{index:012d},{_money(amount)},{keyword}\n")
    return SetFiles(files, portfolios, clients, Decimal(sum(cents)) / 100, transactions, Decimal(deposits) / 100)


def with_changed_balances(accounts: Path, *, count: int) -> None:
    """Let the first accounts have a cent more."""
    lines = accounts.read_text(encoding="ascii").splitlines(keepends=True)
    for index in range(1, count + 1):
        fields = lines[index].split(",")
        fields[2] = f"{Decimal(fields[2]) + Decimal('0.01')}"
        lines[index] = ",".join(fields)
    accounts.write_text("".join(lines), encoding="ascii")


def with_further_transactions(transactions: Path, *, count: int, portfolios: int) -> None:
    """Add a fee to each of as many accounts."""
    with transactions.open("a", encoding="ascii") as file:
        for index in range(count):
            file.write(f"{10**9 + index},{10**7 + index % portfolios},further{index:06d},1.00,FEE\n")


def upload_set(site: Site, made: SetFiles, *, tenant: str) -> None:
    """Put the files into the bucket."""
    for path in made.files.values():
        site.upload(path, f"{tenant}/{path.name}")


def problem_with(site: Site, made: SetFiles, *, tenant: str, day: str = "2026-01-02") -> str | None:
    """What is wrong with the first version's messages; None when they are exactly right."""
    found = site.psql(
        "SELECT count(*) FILTER (WHERE kind = 'clients'), count(*) FILTER (WHERE kind = 'portfolios'), "
        "sum((payload::jsonb->>'cash_balance')::numeric), sum((payload::jsonb->>'number_of_transactions')::bigint), "
        "sum((payload::jsonb->>'sum_of_deposits')::numeric) FROM outbound "
        f"WHERE tenant = '{tenant}' AND business_date = '{day}' AND version = 1 AND sent_at IS NOT NULL"
    ).split("|")
    wanted = [made.client_count, made.portfolio_count, made.balances, made.transaction_count, made.deposits]
    same = len(found) == len(wanted) and all(Decimal(one or 0) == other for one, other in zip(found, wanted, strict=True))
    return None if same else f"{tenant}: messages say {found}, the files {[str(one) for one in wanted]}"


def _write(path: Path, entity: str, rows: Iterable[str]) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(HEADERS[entity])
        file.writelines(f"{row}\n" for row in rows)


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _uuid(chance: random.Random) -> UUID:
    return UUID(int=chance.getrandbits(128), version=4)
