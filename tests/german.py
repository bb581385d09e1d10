"""Files as a sender writes them who has a contract of another form, and that contract."""

import csv
import io

from dataharvest.contracts import Contract
from dataharvest.entities import Kind, all_entities

GERMAN_YAML = """\
delimiter: ";"
decimal_mark: ","
encoding: latin-1
date_in_key: DD.MM.YYYY
header_aliases:
  accounts: {Kontonummer: account_number, Währung: currency}
  portfolios: {Kontonummer: account_number}
  transactions: {Kontonummer: account_number, Betrag: amount}
"""
GERMAN = Contract(
    delimiter=";",
    decimal_mark=",",
    encoding="iso-8859-1",
    date_in_key="DD.MM.YYYY",
    header_aliases={
        "accounts": {"Kontonummer": "account_number", "Währung": "currency"},
        "portfolios": {"Kontonummer": "account_number"},
        "transactions": {"Kontonummer": "account_number", "Betrag": "amount"},
    },
)


def german(key: str, content: bytes) -> tuple[str, bytes]:
    """Key and content of a file with commas, points and UTF-8 as that sender writes them."""
    entity, day = key.rpartition("/")[2].removesuffix(".csv").split("_")
    return key.replace(day, f"{day[6:]}.{day[4:6]}.{day[:4]}"), _content(entity, content)


def _content(entity: str, content: bytes) -> bytes:
    kinds = {column.name: column.kind for column in all_entities()[entity].columns}
    named = {column: alias for alias, column in GERMAN.header_aliases.get(entity, {}).items()}
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";")
    writer.writerow(named.get(name, name).upper() for name in rows[0])
    for row in rows:
        writer.writerow(cell.replace(".", ",") if kinds[name] is Kind.MONEY else cell for name, cell in row.items())
    return text.getvalue().encode("iso-8859-1")
