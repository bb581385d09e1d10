"""Relating in memory: what PostgreSQL does in ``relating.sql``, over lists."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from dataharvest.adapters.memory_frames import Row
from dataharvest.entities import LINKED


class Related(NamedTuple):
    """What a slice has found."""

    links: list[Row]
    orphans: Counter[str]


def relate_rows(
    clients: list[Row], portfolios: list[Row], accounts: list[Row], transactions: list[Row], *, mine: Callable[[int], bool]
) -> Related:
    """Links and orphans of the rows whose number is ``mine``, against all rows on the other side."""
    known_accounts = {one["account_number"] for one in accounts}
    known_clients = {one["client_reference"] for one in clients}
    owned = {one["account_number"] for one in portfolios}
    portfolios, accounts, transactions = (
        [one for index, one in enumerate(rows) if mine(index)] for rows in (portfolios, accounts, transactions)
    )
    good = [one for one in portfolios if one["account_number"] in known_accounts and one["client_reference"] in known_clients]
    orphans = {
        "portfolios without an account": sum(one["account_number"] not in known_accounts for one in portfolios),
        "portfolios without a client": sum(one["client_reference"] not in known_clients for one in portfolios),
        "transactions without an account": sum(one["account_number"] not in known_accounts for one in transactions),
        "accounts without a portfolio": sum(one["account_number"] not in owned for one in accounts),
    }
    return Related([{name: one[name] for name in LINKED} for one in good], +Counter(orphans))
