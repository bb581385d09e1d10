"""The JSON of `dataharvest status` is a contract: described, current, and it only grows."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from dataharvest.rules.causes import Cause
from dataharvest.rules.standing import State
from dataharvest.status_schema import SCHEMA, status_schema
from tests.unit.test_harvest_verdict import delivery, report

PROMISED = {
    "StatusReport": "at sets deliveries_without_set dead_letter_count dead_letters worker_count unreadable_contracts "
    "silent_services set_count unpublished_count without_set_count",
    "SetStatus": "tenant business_date state version published_at waits_for reason counts warnings orphans rules deliveries "
    "problem late_at manifests cause why missing_files pause_reason stored_chunk_count chunk_count eta_at due_at zone",
    "DeliveryStatus": "delivery_id tenant business_date entity file state counts stored_chunk_count chunk_count "
    "first_missing_chunk open_quarantine quarantined duplicates ignored_columns contract_version repeat_of failure "
    "contract_trouble dead_letter_count dead_letter_index dead_letter_rule dead_letter_is_discarded dead_letter_names "
    "size_bytes registered_at next_try_at completed_at",
    "Counts": "read persisted quarantined duplicate accepted",
    "Quarantined": "line byte_offset column rule message quarantine_id",
    "DuplicateKey": "natural_key record_count lines",
    "RuleStatus": "rule done batch_count dead_letter_count dead_letter_rule dead_letter_is_discarded dead_letter_names",
    "Orphans": "kind count sample",
    "ManifestStatus": "manifest_id file state failure registered_at",
    "Why": "sentence remedy command placeholders",
    "UnreadableContract": "tenant version message",
    "DeadLetters": "stage rule count last_at",
}
"""Never take a word out of this list: somebody reads it."""


def models() -> dict[str, dict[str, object]]:
    schema = json.loads(status_schema())
    return {"StatusReport": schema["properties"], **{name: one.get("properties", {}) for name, one in schema["$defs"].items()}}


def test_the_schema_in_docs_is_the_programs() -> None:
    assert SCHEMA.read_text("utf-8") == status_schema(), "run `make docs`"


@pytest.mark.parametrize("model", PROMISED)
def test_no_promised_key_is_gone(model: str) -> None:
    assert set(PROMISED[model].split()) - set(models()[model]) == set()


def test_every_key_is_promised() -> None:
    assert {name: set(keys) - set(PROMISED.get(name, "").split()) for name, keys in models().items() if keys} == {
        name: set() for name in PROMISED
    }


def test_a_report_is_as_the_schema_says() -> None:
    shown = report(State.BLOCKED, delivery()).model_dump_json()

    Draft202012Validator(json.loads(status_schema())).validate(json.loads(shown))


def test_every_state_and_cause_is_explained() -> None:
    text = SCHEMA.with_name("status.md").read_text("utf-8")

    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [*State, *Cause]
