"""Every topic file is complete and true, and a plan changes what differs and nothing else."""

import orjson
import pytest
from jsonschema import Draft202012Validator

from dataharvest.rules.events import objects_in
from dataharvest.topics import (
    AddPartitions,
    CannotChange,
    CreateTopic,
    ExistingTopic,
    SetConfig,
    Topic,
    difference,
    load_topics,
    verify,
)

TOPICS = load_topics()
EXISTING = {
    name: ExistingTopic(partitions=topic.partitions, config={**topic.config, "segment.bytes": "1"}, overrides=topic.config)
    for name, topic in TOPICS.items()
}
CHUNKS = TOPICS["chunks"]
every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS.keys())


def test_the_journeys_topics_are_all_there() -> None:
    assert {name: topic.partitions for name, topic in TOPICS.items()} == {
        "uploads": 4,
        "chunks": 16,
        "progress": 8,
        "readiness": 8,
        "work": 16,
        "outbound.clients": 8,
        "outbound.portfolios": 8,
        "dead-letters": 4,
        "notifications": 4,
        "dataharvest-sets-changelog": 8,
    }


@every_topic
def test_the_schema_is_a_schema(topic: Topic) -> None:
    Draft202012Validator.check_schema(topic.value_schema)
    assert topic.value_schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@every_topic
def test_every_example_is_valid(topic: Topic) -> None:
    validator = Draft202012Validator(topic.value_schema)
    assert topic.examples
    for example in topic.examples:
        validator.validate(example.value)


@every_topic
def test_a_misspelt_message_is_not_valid(topic: Topic) -> None:
    validator = Draft202012Validator(topic.value_schema)
    assert not validator.is_valid("text")
    if topic.name not in {"uploads", "dataharvest-sets-changelog"}:
        assert not validator.is_valid({})
        assert not any(validator.is_valid({**as_object(example.value), "amount": 1.5}) for example in topic.examples)


def as_object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


@every_topic
def test_an_examples_key_has_the_parts_that_the_topic_names(topic: Topic) -> None:
    for separator in "|:":
        if separator in topic.key:
            parts = topic.key.count(separator)
            assert {(example.key or "").count(separator) for example in topic.examples} == {parts}


def test_register_can_read_every_example_of_uploads() -> None:
    counts = [len(objects_in(orjson.dumps(example.value))) for example in TOPICS["uploads"].examples]
    assert counts == [1, 0, 1]


@every_topic
def test_retention_and_size_are_decided_not_inherited(topic: Topic) -> None:
    assert {"cleanup.policy", "max.message.bytes", "compression.type"} <= topic.config.keys()
    assert ("retention.ms" in topic.config) == (topic.config["cleanup.policy"] == "delete")


def test_a_table_write_stays_in_the_partition_of_its_event() -> None:
    changelog = TOPICS["dataharvest-sets-changelog"]
    assert changelog.partitions == TOPICS["progress"].partitions
    assert changelog.config["cleanup.policy"] == "compact"


def test_a_dead_letter_has_room_for_the_largest_message_in_base64() -> None:
    sizes = {name: int(topic.config["max.message.bytes"]) for name, topic in TOPICS.items()}
    largest = max(size for name, size in sizes.items() if name != "dead-letters")
    assert sizes["dead-letters"] > largest * 4 / 3


def test_nothing_differs_when_all_is_well() -> None:
    unknown = {"someone-elses": ExistingTopic(partitions=1)}
    assert difference(TOPICS.values(), EXISTING | unknown) == []
    assert verify(TOPICS.values(), EXISTING | unknown) == []


def test_a_missing_topic_is_created() -> None:
    assert difference([CHUNKS], {}) == [CreateTopic(topic=CHUNKS)]
    assert verify([CHUNKS], {}) == ["topic chunks is missing: run `dataharvest topics apply`"]


def test_partitions_are_added_and_the_worker_says_how() -> None:
    existing = {"chunks": ExistingTopic(partitions=8, config=CHUNKS.config)}
    assert difference([CHUNKS], existing) == [AddPartitions(name="chunks", before=8, after=16)]
    assert verify([CHUNKS], existing) == ["topic chunks has 8 partitions, 16 are needed: run `dataharvest topics apply`"]


def test_partitions_are_never_taken_away() -> None:
    existing = {"chunks": ExistingTopic(partitions=32, config=CHUNKS.config)}
    [change] = difference([CHUNKS], existing)
    assert change == CannotChange(name="chunks", before=32, after=16)
    assert "differs and cannot be changed here" in change.sentence
    [sentence] = verify([CHUNKS], existing)
    assert sentence.startswith("topic chunks has 32 partitions, 16 are needed: Kafka takes no partitions away")


def test_a_changed_setting_keeps_the_settings_that_we_do_not_name() -> None:
    overrides = {"max.message.bytes": "1048588", "min.insync.replicas": "2"}
    existing = {"chunks": ExistingTopic(partitions=16, config={**CHUNKS.config, **overrides}, overrides=overrides)}
    [change] = difference([CHUNKS], existing)
    assert isinstance(change, SetConfig)
    assert change.sentence == "set chunks: max.message.bytes from 1048588 to 4194304"
    assert change.overrides == {**CHUNKS.config, "min.insync.replicas": "2"}
    assert verify([CHUNKS], existing) == []
