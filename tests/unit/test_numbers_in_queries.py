"""Numbers that are written into queries: a plain one is an integer, for which the index by delivery has no filter."""

import re
from pathlib import Path

import pytest

import dataharvest

WRITTEN_IN = re.compile(r"delivery_id = \{[^}]*\}(?!::bigint)")


def test_a_delivery_that_is_written_into_a_query_is_a_bigint() -> None:
    package = Path(dataharvest.__file__).parent
    files = [*package.rglob("*.py"), *package.rglob("*.sql")]
    found = {path.name: hits for path in files if (hits := WRITTEN_IN.findall(path.read_text(encoding="utf-8")))}
    assert found == {}


@pytest.mark.parametrize("query", ["WHERE delivery_id = {number}", "WHERE r.delivery_id = {of('x')}{condition}"])
def test_one_that_is_not_would_be_found(query: str) -> None:
    assert WRITTEN_IN.search(query)
