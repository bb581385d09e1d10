"""Entities, transformers and outbound messages are found by being there, in any order, here or in an installed package."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from dataharvest import entities, outbound, plugins, transformers
from dataharvest.contracts import DEFAULT, Contract
from dataharvest.entities import all_entities
from dataharvest.errors import Misconfigured
from dataharvest.outbound import all_outbound
from dataharvest.rulebook import RELATIONSHIP, all_rules, require_sound_rules, required_entities, waived_entities
from dataharvest.rules.needs import Rule, Work
from dataharvest.transformers import Transformer, all_transformers

REGISTRIES: list[tuple[ModuleType, Any]] = [
    (entities, all_entities), (transformers, all_transformers), (outbound, all_outbound)
]  # fmt: skip
PLUGIN = '''
from dataharvest.transformers import COUNT, transformer


@transformer(per="client", reads={"clients": ("client_reference",)}, values={"letters": COUNT}, needs=("NEEDED",))
def name_length(clients):
    """Letters of a reference."""
'''


@pytest.fixture(autouse=True)
def fresh_registries() -> Iterator[None]:
    yield
    for cached in (all_entities, all_transformers, all_outbound, all_rules):
        cached.cache_clear()


def install_plugin(folder: Path, *, needs: str) -> None:
    """An installed package that adds a transformer through an entry point."""
    (folder / "letters_plugin.py").write_text(PLUGIN.replace("NEEDED", needs))
    metadata = folder / "letters_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: letters-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dataharvest.transformers]\nletters = letters_plugin\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Rule]]]:
    def install(needs: str) -> dict[str, Rule]:
        install_plugin(tmp_path, needs=needs)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "letters_plugin", raising=False)
        all_transformers.cache_clear()
        all_rules.cache_clear()
        return all_rules()

    yield install


@pytest.mark.parametrize(("package", "registry"), REGISTRIES, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_modules_changes_nothing(
    package: ModuleType, registry: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(registry().items())
    modules = plugins.modules_of(package.__name__)
    random.Random(seed).shuffle(modules)
    monkeypatch.setattr(package, "modules_of", lambda _: modules)
    registry.cache_clear()
    assert list(registry().items()) == expected


def test_the_registries_hold_what_the_journey_needs() -> None:
    assert set(all_entities()) == required_entities() == {"accounts", "clients", "portfolios", "transactions"}
    assert set(all_transformers()) == {"sum_of_deposits", "tax", "transactions"}
    assert list(all_rules()) == [RELATIONSHIP, *all_transformers(), *all_outbound()]


def test_an_installed_package_adds_a_transformer(installed: Callable[[str], dict[str, Rule]]) -> None:
    rules = installed("relation_established")
    assert rules["name_length"] == Rule(
        name="name_length", needs=frozenset({"relation_established"}), provides="name_length", work=Work.TRANSFORM
    )
    require_sound_rules(rules.values())


def test_a_rule_whose_need_nobody_provides_is_refused(installed: Callable[[str], dict[str, Rule]]) -> None:
    with pytest.raises(Misconfigured, match=r"^name_length needs credit_score, which no transformer provides\.$"):
        require_sound_rules(installed("credit_score").values())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tax", r"^dataharvest\.transformers\.tax and letters_plugin both declare the transformer 'tax': rename one\.$"),
        (RELATIONSHIP, r"^Two rules are called 'relationship': one to relate, one to transform\.$"),
        ("accounts_persisted", r"^entity accounts and transform rule accounts_persisted both provide the fact"),
        ("relation_established", r"^relate rule relationship and transform rule relation_established both provide the fact"),
    ],
)
def test_two_of_one_name_are_refused_and_both_are_named(
    installed: Callable[[str], dict[str, Rule]], name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "PLUGIN", PLUGIN.replace("name_length", name))
    with pytest.raises(Misconfigured, match=said):
        installed("relation_established")


def test_what_a_module_imports_from_another_is_declared_once(
    installed: Callable[[str], dict[str, Rule]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "PLUGIN", f"from dataharvest.transformers.tax import tax as tax\n{PLUGIN}")
    assert {"name_length", "tax"} <= set(installed("relation_established"))


def test_the_rules_as_they_are_are_sound() -> None:
    require_sound_rules(all_rules().values())


@pytest.mark.parametrize("package", ["dataharvest.entities", "dataharvest.transformers", "dataharvest.outbound"])
def test_every_module_is_found_in_the_order_of_names(package: str) -> None:
    names = [module.__name__ for module in plugins.modules_of(package)]
    assert names == sorted(names)
    assert len(names) == len(set(names)) > 1


def test_what_a_contract_does_without_and_what_did_not_come_is_waived() -> None:
    few = Contract(required=("accounts", "transactions"))
    assert waived_entities(few, present=["accounts", "clients", "transactions"]) == {"portfolios"}
    assert waived_entities(DEFAULT, present=required_entities()) == frozenset()


@pytest.mark.parametrize("kind", [pl.Boolean(), pl.Date(), pl.List(pl.Int64())])
def test_a_value_that_cannot_be_read_again_is_refused(kind: pl.DataType) -> None:
    with pytest.raises(Misconfigured, match=r"^Transformer tax: value 'paid' is a .*; it must be a number or a String\.$"):
        replace(all_transformers()["tax"], values={"paid": kind})


def test_a_name_that_postgresql_would_cut_is_refused() -> None:
    accounts = all_entities()["accounts"]
    assert replace(accounts, name="a" * 47).name
    with pytest.raises(Misconfigured, match="its name has 48 bytes, 47 are possible"):
        replace(accounts, name="a" * 48)


@pytest.mark.parametrize("name", ["version", "message_id", "client_reference", "withdrawn"])
def test_a_field_that_every_message_has_is_refused(name: str) -> None:
    with pytest.raises(Misconfigured, match=f"^Outbound message clients: every message has '{name}'"):
        replace(all_outbound()["outbound.clients"], fields=(name,))


FITTING: list[tuple[pl.DataType, pl.Series]] = [
    (pl.Decimal(38, 4), pl.Series(["1.5"]).cast(pl.Decimal(38, 8))),
    (pl.Decimal(38, 4), pl.Series([1])),
    (pl.Decimal(38, 4), pl.Series([None])),
    (pl.Int64(), pl.Series([1], dtype=pl.UInt32)),
    (pl.Float64(), pl.Series([1])),
    (pl.String(), pl.Series(["A"])),
]
UNFIT: list[tuple[pl.DataType, pl.Series]] = [
    (pl.Decimal(38, 4), pl.Series([1.5])),
    (pl.Int64(), pl.Series([1.0])),
    (pl.Int64(), pl.Series(["1.5"]).cast(pl.Decimal(38, 4))),
    (pl.String(), pl.Series([1])),
    (pl.Float64(), pl.Series(["1"])),
]


def giving(given: pl.Series, *, declared: pl.DataType) -> Transformer:
    """A transformer of one value."""
    frame = pl.DataFrame({"reference": ["a"], "rank": given})
    return replace(all_transformers()["tax"], values={"rank": declared}, compute=lambda: frame)


@pytest.mark.parametrize(("declared", "given"), FITTING)
def test_a_type_that_keeps_what_was_given_will_do(declared: pl.DataType, given: pl.Series) -> None:
    assert giving(given, declared=declared).values_of({})["rank"].to_list() == given.to_list()


@pytest.mark.parametrize(("declared", "given"), UNFIT)
def test_a_transformer_that_gives_another_type_than_it_declares_ends_loudly(declared: pl.DataType, given: pl.Series) -> None:
    with pytest.raises(TypeError, match=f"^transformer tax gives 'rank' as {re.escape(str(given.dtype))}, declared is "):
        giving(given, declared=declared).values_of({})
