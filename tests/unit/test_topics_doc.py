"""The topics' documents: current, valid AsyncAPI, and the same schemas that messages are held to."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft7Validator, Draft202012Validator

from dataharvest.cli.topics import topics as command
from dataharvest.pipeline import CONSUMED
from dataharvest.topics import Topic, load_topics
from dataharvest.topics_doc import asyncapi, documents, outdated, write_documents

ROOT = Path(__file__).parents[2]
TOPICS = load_topics()
FOLDER = ROOT / "docs" / "topics"
every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS.keys())


def official_schema() -> Draft7Validator:
    return Draft7Validator(json.loads((ROOT / "tests/asyncapi/asyncapi-3.0.0.json").read_text("utf-8")))


def test_the_documents_in_the_repository_are_current() -> None:
    assert outdated(TOPICS, FOLDER) == [], "run `make docs`"


def test_the_asyncapi_document_is_valid_by_the_official_schema() -> None:
    document = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text("utf-8"))

    assert document["asyncapi"] == "3.0.0"
    assert [error.json_path for error in official_schema().iter_errors(document)] == []


def test_the_official_schema_would_find_a_mistake() -> None:
    document = asyncapi(TOPICS)
    document["operations"]["receive.uploads"]["action"] = "read"
    document["channels"]["chunks"]["bindings"]["kafka"]["partitions"] = 0

    assert {error.path[0] for error in official_schema().iter_errors(document)} == {"operations", "channels"}


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi(TOPICS)

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [one for name, value in part.items() if name != "examples" for one in references(value)]
        return [one for value in part for one in references(value)] if isinstance(part, list) else []

    found = references(document)
    assert len(found) == 3 * len(TOPICS) + len(document["operations"]) - len(TOPICS)
    for reference in found:
        if reference.startswith("./"):
            assert (FOLDER / reference).is_file()
        else:
            part: Any = document
            # Names of topics may hold a point, never a slash.
            for name in reference.removeprefix("#/").split("/"):
                part = part[name]


def test_what_the_workers_read_is_received_and_what_others_read_is_sent() -> None:
    actions: dict[str, set[str]] = {}
    for operation in asyncapi(TOPICS)["operations"].values():
        actions.setdefault(operation["channel"]["$ref"].rpartition("/")[2], set()).add(operation["action"])

    assert {name for name, found in actions.items() if "receive" in found} >= set(CONSUMED)
    assert {name for name, found in actions.items() if found == {"receive"}} == {"uploads"}
    assert {name for name, topic in TOPICS.items() if topic.role == "outbound"} == {
        name for name, found in actions.items() if found == {"send"}
    }


@every_topic
def test_a_topics_schema_file_holds_its_examples_to_the_same(topic: Topic) -> None:
    schema = json.loads((FOLDER / "schemas" / f"{topic.name}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    assert schema["examples"] == [example.value for example in topic.examples]
    assert all(validator.is_valid(example) for example in schema["examples"])
    assert not validator.is_valid("text")
    assert {name: part for name, part in schema.items() if name in topic.value_schema and name != "description"} == {
        name: part for name, part in topic.value_schema.items() if name != "description"
    }


def test_writing_repairs_what_differs_and_removes_what_is_no_topic(tmp_path: Path) -> None:
    assert write_documents(TOPICS, tmp_path) == list(documents(TOPICS))
    (tmp_path / "README.md").write_text("stale")
    (tmp_path / "schemas/gone.json").write_text("{}")

    assert outdated(TOPICS, tmp_path) == ["README.md", "schemas/gone.json"]
    assert write_documents(TOPICS, tmp_path) == ["README.md", "schemas/gone.json"]
    assert outdated(TOPICS, tmp_path) == []
    assert not (tmp_path / "schemas/gone.json").exists()


def test_the_command_writes_checks_and_says_what_is_not_current(tmp_path: Path) -> None:
    def doc(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(command, ["doc", "--out", str(tmp_path / "topics"), *arguments])
        return done.exit_code, done.output

    code, text = doc("--check")
    assert code == 1
    assert "not current" in text
    assert "asyncapi.yaml" in text
    assert doc()[0] == 0
    assert doc("--check") == (0, f"{tmp_path / 'topics'} is current\n")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    done = CliRunner().invoke(command, ["doc", "--out", str(tmp_path / "file" / "below")])

    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert len(done.output.splitlines()) == 1
