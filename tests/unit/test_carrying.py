"""What may be compared at all, and when two declarations are the same."""

from dataclasses import replace

from dataharvest.entities import Column, Entity, Kind, all_entities
from dataharvest.outbound import all_outbound
from dataharvest.rules.carrying import is_comparable, is_from_links
from dataharvest.transformers import all_transformers

KEY = Column(name="reference", kind=Kind.KEY)
OWNER = Column(name="client_reference", kind=Kind.UUID)


def entity(*columns: Column) -> Entity:
    return Entity(name="advisers", columns=columns, natural_key="reference")


def test_records_are_compared_where_each_says_whom_it_concerns() -> None:
    assert all(map(is_comparable, all_entities().values()))
    assert is_comparable(entity(KEY, OWNER))
    assert not is_comparable(entity(KEY))
    assert not is_comparable(entity(KEY, replace(OWNER, mandatory=False)))


def test_portfolios_are_read_from_the_links_where_these_say_all_that_is_wanted() -> None:
    assert is_from_links("portfolios", ("portfolio_reference", "account_number"))
    assert not is_from_links("portfolios", ("portfolio_reference", "agent_code"))
    assert not is_from_links("accounts", ("account_number",))


def test_a_declaration_is_another_when_what_is_read_or_made_or_the_logic_is() -> None:
    tax, clients = all_transformers()["tax"], all_outbound()["outbound.clients"]
    assert replace(tax).made_by == tax.made_by
    assert replace(clients).made_by == clients.made_by
    others = {
        tax.made_by,
        replace(tax, logic_version=2).made_by,
        replace(tax, reads={**tax.reads, "accounts": ("account_number",)}).made_by,
        replace(tax, values={"taxes_paid": tax.values["taxes_paid"]}).made_by,
        clients.made_by,
        replace(clients, logic_version=2).made_by,
        replace(clients, fields=clients.fields[1:]).made_by,
        replace(clients, takes={"tax": ("taxes_paid",)}).made_by,
    }
    assert len(others) == 8
