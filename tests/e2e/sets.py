"""Seeded sets of files with every special case of the contract; what must come out is worked out by `FileSet.outbound`."""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

from tests.kills.sets import BUSINESS_DATE, ENTITIES, Content, FileSet, Row

__all__ = ["BUSINESS_DATE", "ENTITIES", "FileSet", "Message", "latest", "make_set", "values_of"]

_IDENTITY = {"message_id", "tenant", "business_date", "version", "supersedes"}
_KEYWORDS = ("DEPOSIT", "DEPOSIT", "WITHDRAWAL", "TAX", "FEE", "SOMETHING NEW")

Values = dict[str, dict[str, Content]]


@dataclass(frozen=True, kw_only=True)
class Message:
    """An outbound message as a receiver gets it."""

    topic: str
    key: str
    value: Mapping[str, Any]

    @property
    def reference(self) -> str:
        """The client or portfolio it is about."""
        return self.key.partition("|")[2]


def values_of(messages: Iterable[Message], *, of: FileSet, version: int = 1) -> Values:
    """Values per topic and reference; an AssertionError when a message comes twice or is not the set's first of its key."""
    found: Values = {"outbound.clients": {}, "outbound.portfolios": {}}
    for one in messages:
        reference_name = "client_reference" if one.topic == "outbound.clients" else "portfolio_reference"
        assert one.reference not in found[one.topic], f"{one.key} came twice"
        identity = {name: one.value[name] for name in ("tenant", "business_date", "version", "supersedes")}
        assert identity == {"tenant": of.tenant, "business_date": BUSINESS_DATE, "version": version, "supersedes": None}
        assert one.key == f"{of.tenant}|{one.value[reference_name]}"
        found[one.topic][one.reference] = _content(one)
    return found


def latest(messages: Iterable[Message]) -> Values:
    """Values per topic and reference of the highest version, from messages in order of key and version.

    An AssertionError when one supersedes anything but its predecessor.
    """
    found: Values = {"outbound.clients": {}, "outbound.portfolios": {}}
    for _, group in groupby(messages, key=lambda one: (one.topic, one.key)):
        history = list(group)
        ids = [one.value["message_id"] for one in history]
        assert len(set(ids)) == len(ids), f"{history[0].key} came twice"
        assert [one.value["supersedes"] for one in history] == [None, *ids[:-1]]
        found[history[-1].topic][history[-1].reference] = _content(history[-1])
    return found


def _content(message: Message) -> Content:
    references = {"client_reference", "portfolio_reference"}
    return {name: value for name, value in message.value.items() if name not in _IDENTITY | references}


def make_set(
    tenant: str, *, seed: str = "", accounts: int = 8, clients: int = 6, portfolios: int = 9, transactions: int = 60
) -> FileSet:
    """A set with an account shared within and between clients, a client with nothing and a portfolio without transactions."""
    chance = random.Random(f"{tenant} {seed}")
    account_rows = tuple(_account(chance, index) for index in range(accounts))
    client_rows = tuple(_client(chance, index) for index in range(clients))
    portfolio_rows = tuple(_portfolios(chance, portfolios, account_rows, client_rows))
    rows = {
        "accounts": account_rows,
        "clients": client_rows,
        "portfolios": portfolio_rows,
        "transactions": tuple(_transaction(chance, index, account_rows) for index in range(transactions)),
    }
    return FileSet(tenant, rows)


def _amount(chance: random.Random, *, largest: int, sign: str = "") -> str:
    decimals = chance.choice((0, 1, 2, 2, 3, 4))
    whole = f"{sign}{chance.randrange(largest)}"
    return f"{whole}.{chance.randrange(10**decimals):0{decimals}d}" if decimals else whole


def _uuid(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def _account(chance: random.Random, index: int) -> Row:
    # Leading zeros are part of the number.
    balance = _amount(chance, largest=10**9, sign=chance.choice(("", "", "-")))
    return str(index), f"{index:08d}", balance, chance.choice(("EUR", "USD", "CHF")), _amount(chance, largest=900)


def _client(chance: random.Random, index: int) -> Row:
    return str(index), "Zoë", f'"Müller, {chance.randrange(1000)}"', _uuid(chance), _amount(chance, largest=2000)


def _portfolios(chance: random.Random, count: int, accounts: tuple[Row, ...], clients: tuple[Row, ...]) -> Iterator[Row]:
    # Owner and account of the first four: one client's two portfolios on one account, another client on it too,
    # and the second account, on which nothing happens. The last client owns nothing.
    special = [(0, 0), (0, 0), (1, 0), (2, 1)]
    for index in range(count):
        drawn = (chance.randrange(len(clients) - 1), chance.randrange(len(accounts)))
        owner, account = special[index] if index < len(special) else drawn
        yield str(index), accounts[account][1], _uuid(chance), clients[owner][3], f"A{index}"


def _transaction(chance: random.Random, index: int, accounts: tuple[Row, ...]) -> Row:
    account = accounts[chance.choice((0, *range(2, len(accounts))))]
    return str(index), account[1], f"t{index:07d}", _amount(chance, largest=10**7), chance.choice(_KEYWORDS)
