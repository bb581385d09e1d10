"""What the documents say is there, is there."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from dataharvest.contracts import Contract, read_contract
from dataharvest.outbound import all_outbound
from dataharvest.settings import Settings
from dataharvest.settings_table import README, settings_table, with_settings_table
from dataharvest.topics import load_topics

ROOT = README.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docker/*.md")])
MAKEFILE_TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def own_commands() -> set[str]:
    from faust.cli.faust import cli

    from dataharvest.cli import register_commands

    register_commands()
    return set(cli.commands)


def test_the_readmes_settings_are_those_of_the_program() -> None:
    text = README.read_text("utf-8")

    assert with_settings_table(text) == text, "run `make docs`"


def test_every_setting_is_in_the_table_with_a_meaning() -> None:
    rows = [line.strip("| \n").split(" | ") for line in settings_table().splitlines()[2:]]

    assert [row[0] for row in rows] == [f"`DATAHARVEST_{name.upper()}`" for name in Settings.model_fields]
    assert all(row[2].endswith(".") for row in rows)


def test_no_secret_has_a_default() -> None:
    secret = [line for line in settings_table().splitlines() if re.search("KEY|URL|BROKER", line.split("|")[1])]

    assert len(secret) == 8
    assert all(line.split("|")[2].strip() in ("*required*", "–") for line in secret)


def test_a_text_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="settings"):
        with_settings_table("# A readme\n")


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8"))

    assert [target for target in targets if not (document.parent / target).exists()] == []


@every_document
def test_commands_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    targets = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", text, re.MULTILINE))
    commands = set(re.findall(r"(?:`|^|/)dataharvest ([a-z-]+)", text, re.MULTILINE))

    assert targets <= MAKEFILE_TARGETS
    assert commands <= own_commands()


@every_document
def test_variables_are_settings(document: Path) -> None:
    known = {f"DATAHARVEST_{name.upper()}" for name in Settings.model_fields} | {"DATAHARVEST_HOME"}

    assert set(re.findall(r"DATAHARVEST_[A-Z0-9_]*[A-Z0-9]", document.read_text("utf-8"))) <= known


@every_document
def test_no_path_of_one_machine_is_named(document: Path) -> None:
    assert re.search(r"/(home|root|Users|work|tmp)/", document.read_text("utf-8")) is None


def test_the_transformer_that_contributors_are_shown_is_the_real_one() -> None:
    shown = re.search(r"```python\n(.+?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
    module = (ROOT / "dataharvest/transformers/sum_of_deposits.py").read_text("utf-8")

    assert shown is not None
    assert module.endswith(shown[1])


def test_the_messages_shown_are_as_their_topics_say() -> None:
    page = (ROOT / "docs/files-and-messages.md").read_text("utf-8")
    shown = re.findall(r"^(outbound\.\w+) +(\S+)\n(\{.+?\})$", page, re.MULTILINE | re.DOTALL)

    assert {topic for topic, _, _ in shown} == set(all_outbound())
    for topic, key, value in shown:
        message = json.loads(value)
        Draft202012Validator(load_topics()[topic].value_schema).validate(message)
        assert key == f"{message['tenant']}|{message[all_outbound()[topic].reference_field]}"


def test_decisions_are_numbered_without_a_repeat() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs/adr").glob("*.md")]

    assert len(set(numbers)) == len(numbers)


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_field_of_a_contract_is_explained_and_the_example_is_one() -> None:
    text = (ROOT / "docs/contracts.md").read_text("utf-8")
    example = re.search(r"```yaml\n(.+?)```", text, re.DOTALL)

    explained = [name for row in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert explained == list(Contract.model_fields)
    assert example is not None
    assert read_contract(example[1], source="docs/contracts.md").date_in_key == "DD.MM.YYYY"
